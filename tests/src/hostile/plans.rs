//! Plans: parsing, and running whatever parses.

use crate::random::Random;
use kinglet::format::{CRC, CRC_START, Header};
use kinglet::{DynSession, Plan};
use kinglet_export::host::AlignedBytes;
use std::mem::offset_of;

/// Larger arenas are checked, but not run: that would test the allocator.
const MOST_ARENA: usize = 4 << 20;
/// Multiply-accumulates of plans that are run. The work of a plan is known before it runs.
const MOST_MACS: u64 = 1 << 24;

/// Small plans of the runtime's tests, one for every family of kernels.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        include_bytes!("../../../runtime/tests/fixtures/int8.kinglet").as_slice(),
        include_bytes!("../../../runtime/tests/fixtures/int8_octet.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/int8_patches.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/int8_split.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/int8_quad.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/int8_helium.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/float.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/float_panel.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/general.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/coded.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/coded_split.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/coded_helium.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/codebook.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/wide.kinglet"),
        include_bytes!("../../../runtime/tests/fixtures/sparse.kinglet"),
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Damages records half of the time, and gives the file a checksum that fits: nothing else is then in the way.
pub fn mend(file: &mut [u8], random: &mut Random) {
    let word = |file: &[u8], at: usize| {
        let word = file.get(at..at + 4).and_then(|w| w.try_into().ok());
        word.map_or(0, u32::from_le_bytes) as usize
    };
    let records = word(file, offset_of!(Header, data)).min(file.len());
    if records > 8 && random.one_in(2) {
        for _ in 0..=random.below(3) {
            let at = 2 * random.below(records / 2 - 3);
            let value = random.pick(&super::mutate::EXTREMES) as u32;
            let len = random.pick(&[2, 4]);
            file[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
    }
    let len = word(file, offset_of!(Header, core_len));
    if let Some(core) = file.get(CRC_START..len) {
        let crc = CRC.checksum(core);
        file[offset_of!(Header, crc)..][..4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Parses, and runs what parses twice, the second time on the self-test's input. What does not parse runs as if it were
/// linked in, unchecked: then it may stop, but not panic.
pub fn run(file: &[u8]) -> bool {
    let file = AlignedBytes::from(file);
    let (plan, checked) = match Plan::parse(file.bytes()) {
        Ok(plan) => (plan, true),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match Plan::linked(file.bytes()) {
                Ok(plan) => (plan, false),
                Err(_) => return false,
            }
        }
    };
    let macs = plan
        .operators()
        .fold(0u64, |sum, (_, n)| sum.saturating_add(n));
    if plan.arena_len() > MOST_ARENA || macs > MOST_MACS {
        return checked;
    }
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    arena.bytes_mut().fill(0xff);
    let Ok(mut session) = DynSession::new(plan, arena.bytes_mut()) else {
        assert!(!checked, "the arena is as large as the plan says");
        return false;
    };
    let ran = session.run();
    if checked {
        ran.expect("a plan that parses runs");
        let _digest_differs = session.self_test();
        for index in 0..plan.output_count() {
            let info = plan.output(index).expect("checked");
            assert_eq!(session.output(index).map(<[u8]>::len), Some(info.len));
        }
    }
    checked
}
