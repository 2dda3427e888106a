//! The decoder's loop for cores with Thumb-2.
#![allow(unsafe_code)]

use super::Codes;
use core::arch::naked_asm;

/// What the loop works on, in the order in which it loads it.
#[repr(C)]
struct Job {
    window: u32,
    missing: i32,
    next: *const [u8; 2],
    end: *const [u8; 2],
    table: *const u32,
    order: u32,
    mask: i32,
    out: *mut [u16; 2],
    out_end: *mut [u16; 2],
}

/// Decodes two weights for each half of each element of `out`, as [`super::Levels::decode`] says.
#[inline(always)]
pub(super) fn decode(
    codes: &mut Codes<'_>,
    table: &super::Table,
    order: u32,
    mask: i32,
    out: &mut [[u16; 2]],
) {
    if out.is_empty() {
        return;
    }
    // The loop expects a window that has a whole code, and leaves one.
    codes.refill();
    let rest = codes.rest.as_slice();
    let (bytes, out) = (rest.as_ptr_range(), out.as_mut_ptr_range());
    let mut job = Job {
        window: codes.window,
        missing: codes.missing,
        next: bytes.start,
        end: bytes.end,
        table: table.as_ptr(),
        order,
        mask,
        out: out.start,
        out_end: out.end,
    };
    // SAFETY: `out` has one element at least, and the loop ends at its end. It reads codes up to `end` only, and from the table by
    // indices of eight bits. It changes `window`, `missing` and `next`, which stays between the ends of `rest`.
    let read = unsafe {
        fours(&mut job);
        job.next.offset_from(bytes.start)
    };
    (codes.window, codes.missing) = (job.window, job.missing);
    codes.rest = rest.get(read as usize..).unwrap_or_default().iter();
}

/// Two weights at a time: 8 instructions if a look finds both, 4 for the loop every four weights, 9 for each 16 bits that are read.
/// Two weights that are looked up one by one take 30, one that is in no entry 20 more.
///
/// r4 window, r5 missing bits, r6 next codes, r7 their end, r8 table, r9 order, r10 mask, r11 out, r12 its end.
#[unsafe(naked)]
unsafe extern "C" fn fours(job: &mut Job) {
    naked_asm!(
        "push {{r0, r4-r11, lr}}",
        "ldmia r0, {{r4-r12}}",
        "2:",
        "lsrs r0, r4, #24",
        "ldr r1, [r8, r0, lsl #2]",
        "lsrs r2, r1, #28",
        "beq 5f",
        "strh r1, [r11], #2",
        "lsls r4, r2",
        "adds r5, r2",
        "bgt 6f",
        "3:",
        "lsrs r0, r4, #24",
        "ldr r1, [r8, r0, lsl #2]",
        "lsrs r2, r1, #28",
        "beq 7f",
        "strh r1, [r11], #2",
        "lsls r4, r2",
        "adds r5, r2",
        "bgt 8f",
        "4:",
        "cmp r11, r12",
        "bne 2b",
        "pop {{r0}}",
        "stmia r0, {{r4-r6}}",
        "pop {{r4-r11, pc}}",
        // More codes behind the first pair, and behind the second one.
        "6:",
        "cmp r6, r7",
        "beq 61f",
        "ldrh r0, [r6], #2",
        "rev16 r0, r0",
        "lsls r0, r5",
        "orrs r4, r0",
        "61:",
        "subs r5, #16",
        "b 3b",
        "8:",
        "cmp r6, r7",
        "beq 81f",
        "ldrh r0, [r6], #2",
        "rev16 r0, r0",
        "lsls r0, r5",
        "orrs r4, r0",
        "81:",
        "subs r5, #16",
        "b 4b",
        // A pair one by one.
        "5:",
        "bl 9f",
        "and r3, r0, r10",
        "bl 9f",
        "add r3, r3, r0, lsl #8",
        "strh r3, [r11], #2",
        "b 3b",
        "7:",
        "bl 9f",
        "and r3, r0, r10",
        "bl 9f",
        "add r3, r3, r0, lsl #8",
        "strh r3, [r11], #2",
        "b 4b",
        // One weight, to r0.
        "9:",
        "lsrs r0, r4, #24",
        "ldr r1, [r8, r0, lsl #2]",
        "ubfx r2, r1, #24, #4",
        "sbfx r0, r1, #16, #8",
        "cbz r2, 92f",
        "90:",
        "lsls r4, r2",
        "adds r5, r2",
        "ble 91f",
        "cmp r6, r7",
        "beq 93f",
        "ldrh r1, [r6], #2",
        "rev16 r1, r1",
        "lsls r1, r5",
        "orrs r4, r1",
        "93:",
        "subs r5, #16",
        "91:",
        "bx lr",
        // A long code: zeros, as many digits and one, and those of the order.
        "92:",
        "clz r0, r4",
        "cmp r0, #7",
        "it hi",
        "movhi r0, #7",
        "lsl r1, r4, r0",
        "add r2, r0, r9",
        "rsb r2, r2, #31",
        "lsrs r1, r2",
        "rsb r2, r2, #32",
        "adds r2, r0",
        "cmp r2, #16",
        "it hi",
        "movhi r2, #16",
        "movs r0, #1",
        "lsl r0, r0, r9",
        "subs r1, r1, r0",
        "adds r1, #1",
        "lsrs r0, r1, #1",
        "it cs",
        "rsbcs r0, r0, #0",
        "b 90b",
    )
}
