//! Symmetric int8, for comparison with the floating formats.

use super::{Format, Table};

/// Two's complement in −127 … 127 (−128 is decoded, never emitted).
#[derive(Clone, Copy, Debug)]
pub struct Int8;

impl Format for Int8 {
    const NAME: &'static str = "int8";
    const MAX: f32 = 127.0;
    const TABLE: &'static Table = &const {
        let mut table = [0.0; 256];
        let mut code = 0;
        while code < 256 {
            table[code] = code as u8 as i8 as f32;
            code += 1;
        }
        table
    };
    const ORDER: &'static [u8] = &const {
        let mut order = [0; 128];
        let mut code = 0;
        while code < 128 {
            order[code] = code as u8;
            code += 1;
        }
        order
    };

    fn negated(code: u8) -> u8 {
        code.wrapping_neg()
    }
}
