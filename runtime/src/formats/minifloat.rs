//! Eight-bit floats with subnormals, no infinity, and NaN in the code of all ones ("fn").

use super::{Format, Table, power_of_two};

/// OCP's FP8 E4M3 (`FLOAT8E4M3FN` in ONNX): four exponent bits, bias 7, largest value 448.
#[derive(Clone, Copy, Debug)]
pub struct E4M3;

/// Three exponent bits, bias 3, four fraction bits, largest value 30.
#[derive(Clone, Copy, Debug)]
pub struct E3M4;

const fn table(fraction_bits: u32, bias: i32) -> Table {
    let mut table = [0.0; 256];
    let mut code = 0u32;
    while code < 256 {
        let exponent = ((code & 0x7F) >> fraction_bits) as i32;
        let fraction = code & ((1 << fraction_bits) - 1);
        let (mantissa, exponent) = match exponent {
            0 => (fraction, 1 - bias),
            e => (fraction + (1 << fraction_bits), e - bias),
        };
        let magnitude = if code & 0x7F == 0x7F {
            f32::NAN
        } else {
            mantissa as f32 * power_of_two(exponent - fraction_bits as i32)
        };
        table[code as usize] = if code < 128 { magnitude } else { -magnitude };
        code += 1;
    }
    table
}

/// All positive codes but NaN: they ascend as integers do.
const ORDER: [u8; 127] = {
    let mut order = [0; 127];
    let mut code = 0;
    while code < 127 {
        order[code] = code as u8;
        code += 1;
    }
    order
};

impl Format for E4M3 {
    const NAME: &'static str = "E4M3";
    const MAX: f32 = 448.0;
    const TABLE: &'static Table = &const { table(3, 7) };
    const ORDER: &'static [u8] = &ORDER;
}

impl Format for E3M4 {
    const NAME: &'static str = "E3M4";
    const MAX: f32 = 30.0;
    const TABLE: &'static Table = &const { table(4, 3) };
    const ORDER: &'static [u8] = &ORDER;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4m3_is_ocps() {
        let cases = [
            (0x01, 1.0 / 512.0),
            (0x07, 7.0 / 512.0),
            (0x08, 1.0 / 64.0),
            (0x38, 1.0),
            (0x39, 1.125),
            (0x7E, 448.0),
            (0xB8, -1.0),
        ];
        for (code, value) in cases {
            assert_eq!(E4M3::decode(code), value, "{code:#x}");
        }
        assert!(E4M3::decode(0x7F).is_nan() && E4M3::decode(0xFF).is_nan());
    }

    #[test]
    fn e3m4_has_four_fraction_bits() {
        let cases = [
            (0x01, 1.0 / 64.0),
            (0x10, 0.25),
            (0x30, 1.0),
            (0x31, 1.0625),
            (0x7E, 30.0),
        ];
        for (code, value) in cases {
            assert_eq!(E3M4::decode(code), value, "{code:#x}");
        }
    }
}
