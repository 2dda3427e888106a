//! Devices that play recordings, for tests and the emulator: the application cannot tell them from hardware.

use crate::imu::{ADDRESS, Sample, register};
use core::convert::Infallible;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{self, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

/// An LSM6DS3TR-C on an I²C bus, register by register: each read of its status while the sensor measures finds the recording's
/// next sample, until there are no more.
#[derive(Debug)]
pub struct Imu<S> {
    samples: S,
    /// Values of the registers from 0.
    registers: [u8; 0x40],
    /// Where the next read starts: written by the bus.
    pointer: u8,
}

/// What the recorded sensor answers to what it does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl i2c::Error for Refused {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown)
    }
}

impl<S: Iterator<Item = Sample>> Imu<S> {
    /// Both parts measure at 52 Hz, in the driver's ranges.
    const MEASURING: u8 = 0x38;

    /// A sensor that has just been switched on.
    pub fn new(samples: S) -> Self {
        let mut sensor = Imu {
            samples,
            registers: [0; 0x40],
            pointer: 0,
        };
        sensor.reset();
        sensor
    }

    fn reset(&mut self) {
        self.registers = [0; 0x40];
        self.set(register::WHO_AM_I, 0x6a);
        self.set(register::CTRL3_C, 0x04);
    }

    fn get(&self, register: u8) -> u8 {
        let value = self.registers.get(usize::from(register));
        value.copied().unwrap_or(0)
    }

    fn set(&mut self, register: u8, value: u8) {
        if let Some(place) = self.registers.get_mut(usize::from(register)) {
            *place = value;
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some((&start, values)) = bytes.split_first() else {
            return;
        };
        self.pointer = start;
        for &value in values {
            if self.pointer == register::CTRL3_C && value & 1 == 1 {
                self.reset();
            } else {
                self.set(self.pointer, value);
            }
            self.pointer = self.pointer.wrapping_add(1);
        }
    }

    fn read(&mut self, values: &mut [u8]) {
        if self.pointer == register::STATUS_REG {
            self.measure();
        }
        for value in values {
            *value = self.get(self.pointer);
            // The last byte of a measurement: it is no news any more.
            if self.pointer == register::OUTX_L_G + 11 {
                self.set(register::STATUS_REG, 0);
            }
            self.pointer = self.pointer.wrapping_add(1);
        }
    }

    /// Puts the next sample into the registers, unless the one before has not been fetched.
    fn measure(&mut self) {
        let set_up = [register::CTRL1_XL, register::CTRL2_G].map(|part| self.get(part));
        if self.get(register::STATUS_REG) != 0 || set_up != [Self::MEASURING; 2] {
            return;
        }
        let Some(sample) = self.samples.next() else {
            return;
        };
        let axes = sample.rotation.iter().chain(&sample.acceleration);
        let bytes = axes.flat_map(|axis| axis.to_le_bytes());
        for (register, byte) in (register::OUTX_L_G..).zip(bytes) {
            self.set(register, byte);
        }
        self.set(register::STATUS_REG, 0b11);
    }
}

impl<S> ErrorType for Imu<S> {
    type Error = Refused;
}

impl<S: Iterator<Item = Sample>> I2c for Imu<S> {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), Refused> {
        if address != ADDRESS {
            return Err(Refused);
        }
        for operation in operations {
            match operation {
                Operation::Write(bytes) => self.write(bytes),
                Operation::Read(values) => self.read(values),
            }
        }
        Ok(())
    }
}

/// Time that passes at once.
#[derive(Clone, Copy, Debug)]
pub struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}

/// Sound from anything that fills buffers.
#[derive(Debug)]
pub struct Sound<R>(
    /// Fills the hop; `false` when there is less than one left.
    pub R,
);

impl<R: FnMut(&mut [i16; crate::keywords::HOP]) -> bool> crate::keywords::Microphone for Sound<R> {
    type Error = Infallible;

    fn read(&mut self, hop: &mut [i16; crate::keywords::HOP]) -> Result<bool, Infallible> {
        Ok((self.0)(hop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imu::{Error, Lsm6ds, OverI2c};

    #[test]
    fn the_driver_reads_a_recording_to_its_end() {
        let sample = |n: i16| Sample {
            acceleration: [n, -n, 1],
            rotation: [2, n * 100, -3],
        };
        let bus = OverI2c {
            bus: Imu::new((1..4).map(sample)),
            address: ADDRESS,
        };
        let mut sensor = Lsm6ds::start(bus, &mut NoDelay).unwrap();
        for n in 1..4 {
            assert_eq!(sensor.wait(&mut NoDelay), Ok(sample(n)));
        }
        assert_eq!(sensor.wait(&mut NoDelay), Err(Error::NotReady));
    }

    #[test]
    fn nothing_answers_at_another_address_and_nothing_is_measured_before_the_set_up() {
        let mut sensor = Imu::new(core::iter::once(Sample::default()));
        assert_eq!(sensor.write_read(0x6b, &[0x0f], &mut [0]), Err(Refused));
        let mut status = [1];
        sensor.write_read(ADDRESS, &[0x1e], &mut status).unwrap();
        assert_eq!(status, [0]);
    }
}
