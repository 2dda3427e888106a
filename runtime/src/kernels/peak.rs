//! How many multiply-accumulates this machine can do: small loops in registers, for whoever times them.

/// Does so many rounds of int8 multiply-accumulates with the instructions of the fastest arm; how many that were, or `None` where
/// there is no such loop.
pub fn int8(rounds: u32) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    return super::x86::peak::int8(rounds);
    #[cfg(not(target_arch = "x86_64"))]
    return None.filter(|_: &u64| rounds > 0);
}

/// As [`int8`], of single floats, fused where the processor can, though our kernels round twice.
pub fn f32(rounds: u32) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    return super::x86::peak::f32(rounds);
    #[cfg(not(target_arch = "x86_64"))]
    return None.filter(|_: &u64| rounds > 0);
}

#[cfg(test)]
mod tests {
    #[test]
    fn rounds_are_counted() {
        for peak in [super::int8, super::f32] {
            if let (Some(one), Some(seven)) = (peak(1), peak(7)) {
                assert_eq!(one * 7, seven);
                assert!(one >= 96);
            }
        }
    }
}
