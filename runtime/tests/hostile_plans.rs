//! Damaged plans, by accident and on purpose: an error, or a run that ends; never a panic.
//!
//! The fixtures are made by the compiler (`tests/tests/plan_fixtures.rs` keeps them fresh). Accidents are caught by the
//! checksum. Whoever writes a plan on purpose gives it a good checksum, so the other tests do the same and then run
//! whatever still parses: bounds, overlaps and parameters are all that is left to stop it.

mod fixtures;

use fixtures::{Aligned, FIXTURES};
use kinglet::format::{
    CRC, CRC_START, Coding, ConvI8, FullyConnectedI8, Header, IoRecord, OpCode, Span, StepHeader,
};
use kinglet::{DynSession, Plan, PlanError};
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// Larger arenas are checked, but not run: that would test the allocator.
const MOST_ARENA: usize = 64 << 20;

/// Vigna's SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
}

fn word(bytes: &[u8], at: usize) -> usize {
    let word = bytes.get(at..at + 4).map(|w| [w[0], w[1], w[2], w[3]]);
    word.map_or(0, u32::from_le_bytes) as usize
}

/// Gives the damaged file a checksum that fits, as far as its stated length allows.
fn mend_checksum(file: &mut [u8]) {
    let len = word(file, offset_of!(Header, core_len));
    if let Some(core) = file.get(CRC_START..len) {
        let crc = CRC.checksum(core);
        file[offset_of!(Header, crc)..][..4].copy_from_slice(&crc.to_le_bytes());
    }
}

#[derive(PartialEq, Debug)]
enum Fate {
    Refused,
    TooLarge,
    Ran,
}

/// Parses, and runs what parses, on an input of extreme values and on the self-test's.
fn try_out(file: &[u8]) -> Fate {
    let file = Aligned::new(file);
    let plan = match Plan::parse(file.bytes()) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            run_unchecked(file.bytes());
            return Fate::Refused;
        }
    };
    if plan.arena_len() > MOST_ARENA {
        return Fate::TooLarge;
    }
    let mut arena = vec![u128::MAX; plan.arena_len().div_ceil(16)];
    let mut session = DynSession::new(plan, arena.as_mut_bytes())
        .expect("the arena is as large as the plan says");
    session.run().expect("a plan that parses runs");
    let _digest_differs = session.self_test();
    for index in 0..plan.output_count() {
        let info = plan.output(index).expect("checked");
        assert_eq!(session.output(index).map(<[u8]>::len), Some(info.len));
    }
    Fate::Ran
}

/// As a plan that is linked in, whose records nobody checks on the device: it may not run, but never panics.
fn run_unchecked(bytes: &[u8]) {
    let Ok(plan) = Plan::linked(bytes) else {
        return;
    };
    if plan.arena_len() > MOST_ARENA {
        return;
    }
    let mut arena = vec![u128::MAX; plan.arena_len().div_ceil(16)];
    if let Ok(mut session) = DynSession::new(plan, arena.as_mut_bytes()) {
        let _stopped = session.run();
    }
}

/// The part of the file before the weights.
fn records(file: &[u8]) -> usize {
    word(file, offset_of!(Header, data))
}

/// How often each fate met `count` files that `damage` made; it is told where the weights begin.
fn fates(count: usize, seed: u64, damage: impl Fn(&mut Vec<u8>, usize, &mut Random)) -> [usize; 3] {
    let mut random = Random(seed);
    let mut seen = [0; 3];
    for round in 0..count {
        let mut file = FIXTURES[round % FIXTURES.len()].1.to_vec();
        let records = records(&file);
        damage(&mut file, records, &mut random);
        mend_checksum(&mut file);
        seen[match try_out(&file) {
            Fate::Refused => 0,
            Fate::TooLarge => 1,
            Fate::Ran => 2,
        }] += 1;
    }
    println!(
        "refused {}, too large {}, ran {}",
        seen[0], seen[1], seen[2]
    );
    seen
}

#[test]
fn the_fixtures_run_and_prove_themselves() {
    for (name, file) in FIXTURES {
        let file = Aligned::new(file);
        let plan = Plan::parse(file.bytes()).unwrap();
        let mut arena = vec![0u128; plan.arena_len().div_ceil(16)];
        let mut session = DynSession::new(plan, arena.as_mut_bytes()).unwrap();
        session
            .self_test()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn every_truncation_is_refused() {
    for (name, file) in FIXTURES {
        let whole = Aligned::new(file);
        for len in 0..file.len() {
            let error = Plan::parse(&whole.bytes()[..len]).expect_err("it is cut off");
            assert!(
                matches!(error, PlanError::Truncated { .. }),
                "{name}, {len} bytes: {error}"
            );
        }
    }
}

#[test]
fn every_single_flipped_bit_is_noticed() {
    for (name, file) in FIXTURES {
        // A checksum takes time in proportion to the file: the records one by one, of the weights every 7th bit.
        let records = word(file, offset_of!(Header, data)) * 8;
        let bits = (0..records).chain((records..file.len() * 8).step_by(7));
        let mut damaged = Aligned::new(file);
        for bit in bits {
            damaged.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            assert!(Plan::parse(damaged.bytes()).is_err(), "{name}: bit {bit}");
            damaged.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(1);
    for _ in 0..2000 {
        let len = random.below(600);
        let mut file: Vec<u8> = (0..len).map(|_| random.bits() as u8).collect();
        assert_eq!(try_out(&file), Fate::Refused);
        // With a good beginning it gets further.
        let header = size_of::<Header>().min(len);
        file[..header].copy_from_slice(&FIXTURES[0].1[..header]);
        if len > header {
            file[offset_of!(Header, core_len)..][..4].copy_from_slice(&(len as u32).to_le_bytes());
            mend_checksum(&mut file);
        }
        assert_eq!(try_out(&file), Fate::Refused);
    }
}

#[test]
fn flipped_bits_under_a_good_checksum_do_no_harm() {
    let [refused, _, ran] = fates(30_000, 2, |file, records, random| {
        for _ in 0..=random.below(3) {
            let bit = random.below(records * 8);
            file[bit / 8] ^= 1 << (bit % 8);
        }
    });
    assert!(refused > 1000 && ran > 1000, "both ways are tried");
}

#[test]
fn every_flipped_bit_of_the_records_under_a_good_checksum_does_no_harm() {
    for (_, original) in FIXTURES {
        for bit in 0..records(original) * 8 {
            let mut file = original.to_vec();
            file[bit / 8] ^= 1 << (bit % 8);
            mend_checksum(&mut file);
            try_out(&file);
        }
    }
}

#[test]
fn extreme_numbers_under_a_good_checksum_do_no_harm() {
    const EXTREMES: [u32; 16] = [
        0,
        1,
        2,
        3,
        15,
        16,
        255,
        256,
        0x7fff,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0x8000_0000,
        0x7f80_0000,
        0x7fc0_0000,
        u32::MAX,
    ];
    let [refused, _, ran] = fates(30_000, 3, |file, records, random| {
        for _ in 0..=random.below(2) {
            // Fields of records are not aligned to 4 in the file, but to 2.
            let at = size_of::<u16>() * random.below((records - 4) / 2);
            let value = EXTREMES[random.below(EXTREMES.len())];
            let bytes = value.to_le_bytes();
            let len = if random.below(2) == 0 { 4 } else { 2 };
            file[at..at + len].copy_from_slice(&bytes[..len]);
        }
    });
    assert!(refused > 1000 && ran > 100, "both ways are tried");
}

#[test]
fn fields_copied_from_elsewhere_do_no_harm() {
    let [refused, _, ran] = fates(30_000, 4, |file, records, random| {
        for _ in 0..=random.below(4) {
            let to = 2 * random.below((records - 8) / 2);
            let from = 2 * random.below((records - 8) / 2);
            let len = [2, 4, 8][random.below(3)];
            file.copy_within(from..from + len, to);
        }
    });
    assert!(refused > 1000 && ran > 100, "both ways are tried");
}

#[test]
fn random_weights_and_tables_do_no_harm() {
    let [refused, too_large, ran] = fates(320, 5, |file, records, random| {
        for byte in &mut file[records..] {
            *byte = random.bits() as u8;
        }
    });
    // Of the sixteen fixtures three have coded weights, which begin with the places of their codes, one has sparse ones, which
    // are counted, one has indices, and one has fixed-point multipliers, which have bounds.
    assert_eq!(
        (refused, too_large, ran),
        (120, 0, 200),
        "any weights are weights"
    );
}

/// libFuzzer found the overflow.
#[test]
fn multiply_accumulates_of_forged_records_saturate() {
    let mut most = 0;
    for (_, original) in FIXTURES {
        let mut file = original.to_vec();
        let mut at = word(&file, offset_of!(Header, steps));
        for _ in 0..word(&file, offset_of!(Header, step_count)) {
            let end = at + (word(&file, at + offset_of!(StepHeader, size)) & 0xffff);
            file[at + size_of::<StepHeader>()..end].fill(0xff);
            at = end;
        }
        mend_checksum(&mut file);
        let file = Aligned::new(&file);
        if let Ok(plan) = Plan::linked(file.bytes()) {
            most = plan.operators().map(|(_, macs)| macs).fold(most, u64::max);
        }
    }
    assert_eq!(most, u64::MAX);
}

/// Layers with coded weights: the offset of each one's [`Coding`] and that of its weights' span in the file.
fn coded_layers(file: &[u8]) -> Vec<[usize; 2]> {
    let mut at = word(file, offset_of!(Header, steps));
    let mut found = Vec::new();
    for _ in 0..word(file, offset_of!(Header, step_count)) {
        let code = word(file, at + offset_of!(StepHeader, code)) & 0xffff;
        if code == OpCode::Coded as usize {
            let coding = at + size_of::<StepHeader>();
            let layer = match OpCode::from_code((word(file, coding) & 0xffff) as u16) {
                Some(
                    OpCode::FullyConnectedI8
                    | OpCode::FullyConnectedI8Split
                    | OpCode::FullyConnectedI8Quad
                    | OpCode::FullyConnectedI8Helium,
                ) => offset_of!(FullyConnectedI8, weights),
                _ => offset_of!(ConvI8, weights),
            };
            found.push([coding, coding + size_of::<Coding>() + layer]);
        }
        at += word(file, at + offset_of!(StepHeader, size)) & 0xffff;
    }
    found
}

fn set(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn forged_codes_do_no_harm() {
    let (mut random, mut ran) = (Random(7), 0);
    for (name, original) in FIXTURES
        .iter()
        .filter(|(name, _)| name.starts_with("coded"))
    {
        let layers = coded_layers(original);
        assert!(layers.len() > 3, "{name}");
        for [_, span] in layers {
            let data = word(original, offset_of!(Header, data));
            let weights = data + word(original, span);
            let len = word(original, span + 4);
            let codes = weights + word(original, weights)..weights + len;
            for _ in 0..20 {
                let mut file = original.to_vec();
                for byte in &mut file[codes.clone()] {
                    *byte = random.bits() as u8;
                }
                mend_checksum(&mut file);
                ran += usize::from(try_out(&file) == Fate::Ran);
            }
            for byte in [0, 0xff] {
                let mut file = original.to_vec();
                file[codes.clone()].fill(byte);
                mend_checksum(&mut file);
                assert_eq!(try_out(&file), Fate::Ran, "{name}: any codes are codes");
            }
        }
    }
    assert!(ran > 100, "{ran}");
}

/// Every way in which a coded layer can contradict itself is refused.
#[test]
fn coded_layers_that_contradict_themselves_are_refused() {
    for (name, original) in FIXTURES
        .iter()
        .filter(|(name, _)| name.starts_with("coded"))
    {
        for [coding, span] in coded_layers(original) {
            let weights = word(original, offset_of!(Header, data)) + word(original, span);
            let (len, first) = (word(original, span + 4), word(original, weights));
            let tile = word(original, coding + offset_of!(Coding, tile));
            let order = coding + offset_of!(Coding, order);
            let layer = word(original, coding) & 0xffff_0000;
            let forgeries: [(&str, usize, u32); 12] = [
                ("a layer that does not exist", coding, layer as u32 | 63),
                (
                    "a coded coded layer",
                    coding,
                    layer as u32 | OpCode::Coded as u32,
                ),
                (
                    "a depthwise layer",
                    coding,
                    layer as u32 | OpCode::DepthwiseI8 as u32,
                ),
                (
                    "an order that is too large",
                    order & !3,
                    word(original, order & !3) as u32 | 0xff_0000,
                ),
                ("no tile", coding + offset_of!(Coding, tile), 0),
                ("a tile of five", coding + offset_of!(Coding, tile), 5),
                (
                    "another tile",
                    coding + offset_of!(Coding, tile),
                    tile as u32 + 4096,
                ),
                ("codes before their place", weights, first as u32 - 4),
                ("codes behind their place", weights, first as u32 + 4),
                ("codes that end where they begin", span + 4, first as u32),
                ("codes without their places", span + 4, 0),
                (
                    "codes outside of the file",
                    span + 4,
                    len as u32 + (1 << 24),
                ),
            ];
            for (what, at, value) in forgeries {
                let mut file = original.to_vec();
                set(&mut file, at, value);
                // A tile larger than all channels stands for all of them.
                if file == *original || what == "another tile" && first == 4 {
                    continue;
                }
                mend_checksum(&mut file);
                assert_eq!(try_out(&file), Fate::Refused, "{name}: {what}");
            }
        }
    }
}

/// Steps and tensors moved about in the arena: overlapping, outside, misaligned.
#[test]
fn operands_moved_in_the_arena_do_no_harm() {
    let [refused, _, ran] = fates(30_000, 6, |file, _, random| {
        let arena = word(file, offset_of!(Header, arena_len));
        let count = word(file, offset_of!(Header, step_count));
        let mut at = word(file, offset_of!(Header, steps));
        for _ in 0..random.below(count) {
            at += word(file, at + offset_of!(StepHeader, size)) & 0xffff;
        }
        let size = word(file, at + offset_of!(StepHeader, size)) & 0xffff;
        let mut field = at
            + [
                offset_of!(StepHeader, input),
                offset_of!(StepHeader, output),
                // Where layers name their working memory.
                size - size_of::<Span>(),
            ][random.below(3)];
        if random.below(5) == 0 {
            let io = word(file, offset_of!(Header, io_offset));
            field = io + random.below(2) * size_of::<IoRecord>() + offset_of!(IoRecord, arena);
        }
        let offset = match random.below(4) {
            0 => random.below(arena + 32),
            1 => random.below(arena / 16 + 1) * 16,
            2 => arena.wrapping_sub(random.below(64)),
            _ => u32::MAX as usize - random.below(64),
        };
        file[field..field + 4].copy_from_slice(&(offset as u32).to_le_bytes());
    });
    assert!(refused > 1000 && ran > 1000, "both ways are tried");
}
