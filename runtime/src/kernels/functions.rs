//! Scalar functions of float steps.

/// Greatest of two; NaN if one is.
pub fn maximum(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// Least of two; NaN if one is.
pub fn minimum(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

/// −1, 0 or 1; NaN of NaN.
pub fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

/// 1 for true, 0 for false.
pub fn truth(condition: bool) -> f32 {
    if condition { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_never_lost() {
        for f in [maximum, minimum] {
            assert!(f(f32::NAN, 1.0).is_nan() && f(1.0, f32::NAN).is_nan());
        }
        assert_eq!((maximum(1.0, 2.0), minimum(1.0, 2.0)), (2.0, 1.0));
        assert_eq!([-3.0, 0.0, 9.0].map(sign), [-1.0, 0.0, 1.0]);
        assert!(sign(f32::NAN).is_nan());
    }
}
