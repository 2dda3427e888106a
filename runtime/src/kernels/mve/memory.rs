//! Filling and copying, sixteen bytes at a time.

/// Fills `to` with `value`.
pub(super) fn fill(to: &mut [i8], value: i8) {
    // SAFETY: writes the bytes of `to`.
    unsafe { fill_bytes(to.as_mut_ptr(), to.len(), value.into()) };
}

/// Copies `from` to the beginning of `to`; `None` when it is longer.
pub(super) fn copy(from: &[i8], to: &mut [i8]) -> Option<()> {
    let to = to.get_mut(..from.len())?;
    // SAFETY: reads the bytes of `from` and writes as many of `to`, which has them.
    unsafe { copy_bytes(from.as_ptr(), to.as_mut_ptr(), from.len()) };
    Some(())
}

/// Copies `count` pieces of `len` bytes that follow each other in `from` to every `step` bytes of `to`; `None` when they do
/// not fit or `len` is 0.
pub(super) fn spread(
    from: &[i8],
    count: usize,
    len: usize,
    to: &mut [i8],
    step: usize,
) -> Option<()> {
    let Some(last) = count.checked_sub(1) else {
        return Some(());
    };
    let bytes = count.checked_mul(len)?;
    let from = from.get(..bytes)?;
    to.get(..last.checked_mul(step)?.checked_add(len)?)?;
    if step == len {
        return copy(from, to);
    }
    if len == 0 {
        return None;
    }
    // Pieces within a vector, and where its bytes go.
    let pieces = 16 / len;
    if pieces > 1 && step.checked_mul(pieces)?.checked_add(len)? <= 256 {
        let mut offsets = [0u8; 16];
        let (mut piece, mut byte) = (0, 0);
        for offset in &mut offsets {
            *offset = (piece + byte) as u8;
            byte += 1;
            if byte == len {
                (piece, byte) = (piece + step, 0);
            }
        }
        // SAFETY: reads the bytes of `from`; byte `i` of it goes to `i / len · step + i % len` of `to`, whose largest was
        // found to be inside. Offsets are below `step · pieces + len`, so they fit bytes.
        unsafe {
            scatter_bytes(
                from.as_ptr(),
                to.as_mut_ptr(),
                bytes,
                &Scatter {
                    offsets,
                    from_step: pieces * len,
                    to_step: pieces * step,
                },
            );
        }
        return Some(());
    }
    let filled = len.checked_next_multiple_of(16)?;
    let fix = [len.wrapping_sub(filled), step.wrapping_sub(filled)];
    // SAFETY: reads the `count · len` bytes of `from`; the last piece ends within `to`, as was compared.
    unsafe { spread_bytes(from.as_ptr(), to.as_mut_ptr(), count, len, fix[0], fix[1]) };
    Some(())
}

#[unsafe(naked)]
unsafe extern "C" fn fill_bytes(to: *mut i8, len: usize, value: i32) {
    helium_asm!(
        "push {{r4, lr}}",
        "vdup.8 q0, r2",
        "wlstp.8 lr, r1, 2f",
        "1:",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 1b",
        "2:",
        "pop {{r4, pc}}",
    )
}

/// Budget: 3 instructions for 16 bytes.
#[unsafe(naked)]
unsafe extern "C" fn copy_bytes(from: *const i8, to: *mut i8, len: usize) {
    helium_asm!(
        "push {{r4, lr}}",
        "wlstp.8 lr, r2, 2f",
        "1:",
        "vldrb.u8 q0, [r0], #16",
        "vstrb.8 q0, [r1], #16",
        "letp lr, 1b",
        "2:",
        "pop {{r4, pc}}",
    )
}

/// Budget: 5 + 3 instructions for each 16 bytes of a piece.
#[unsafe(naked)]
unsafe extern "C" fn spread_bytes(
    from: *const i8,
    to: *mut i8,
    count: usize,
    len: usize,
    from_fix: usize,
    to_fix: usize,
) {
    helium_asm!(
        "push {{r4, r5, r6, lr}}",
        "ldrd r4, r5, [sp, #16]",
        "3:",
        "dlstp.8 lr, r3",
        "1:",
        "vldrb.u8 q0, [r0], #16",
        "vstrb.8 q0, [r1], #16",
        "letp lr, 1b",
        "add r0, r4",
        "subs r2, #1",
        "add r1, r5",
        "bne 3b",
        "pop {{r4, r5, r6, pc}}",
    )
}

/// How [`scatter_bytes`] goes on after a vector.
#[repr(C)]
struct Scatter {
    offsets: [u8; 16],
    from_step: usize,
    to_step: usize,
}

/// Budget: 6 instructions for each vector of whole pieces.
#[unsafe(naked)]
unsafe extern "C" fn scatter_bytes(from: *const i8, to: *mut i8, len: usize, how: &Scatter) {
    helium_asm!(
        "push {{r4, r5, r6, lr}}",
        "vldrb.u8 q1, [r3]",
        "ldrd r4, r5, [r3, #16]",
        "b 2f",
        "1:",
        "vldrb.u8 q0, [r0]",
        "vstrb.8 q0, [r1, q1]",
        "add r0, r4",
        "add r1, r5",
        "sub r2, r4",
        "2:",
        "cmp r2, #16",
        "bge 1b",
        // Fewer than sixteen are left, of one or two vectors.
        "3:",
        "vctp.8 r2",
        "vpstt",
        "vldrbt.u8 q0, [r0]",
        "vstrbt.8 q0, [r1, q1]",
        "add r0, r4",
        "add r1, r5",
        "subs r2, r2, r4",
        "bgt 3b",
        "pop {{r4, r5, r6, pc}}",
    )
}
