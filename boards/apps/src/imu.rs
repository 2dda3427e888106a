//! A driver for the inertial sensors LSM6DS3, LSM6DS3TR-C and LSM6DSO of STMicroelectronics (on the XIAO nRF52840 Sense, the
//! Arduino Nano RP2040 Connect and many breakout boards), over I²C or SPI: acceleration and rotation, polled.
//!
//! Registers by the data sheets DM00133076 (LSM6DS3) and DM00478494 (LSM6DS3TR-C); those that are used here are the same in all
//! three.

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use embedded_hal::spi::{Operation, SpiDevice};

/// The I²C address with pin SA0 low; with SA0 high it is one more.
pub const ADDRESS: u8 = 0x6a;

/// Registers.
pub mod register {
    /// Which sensor it is.
    pub const WHO_AM_I: u8 = 0x0f;
    /// Rate and range of the accelerometer.
    pub const CTRL1_XL: u8 = 0x10;
    /// Rate and range of the gyroscope.
    pub const CTRL2_G: u8 = 0x11;
    /// How registers are read, and the reset.
    pub const CTRL3_C: u8 = 0x12;
    /// What is new.
    pub const STATUS_REG: u8 = 0x1e;
    /// Rotation about x, y, z and acceleration along x, y, z: six little-endian 16-bit numbers.
    pub const OUTX_L_G: u8 = 0x22;
}

/// What `WHO_AM_I` says in the LSM6DS3, the LSM6DS3TR-C and the LSM6DSO.
const KNOWN: [u8; 3] = [0x69, 0x6a, 0x6c];
/// 52 Hz; ±4 g and ±1000 °/s.
const RATE_AND_RANGE: u8 = 0b0011_1000;
/// Both halves of a number belong together, and addresses count up.
const BLOCK_UPDATE: u8 = 0b0100_0100;
const RESET: u8 = 1;
/// New acceleration and new rotation.
const BOTH_NEW: u8 = 0b11;

/// Samples a second.
pub const RATE: u32 = 52;
/// Acceleration that a count stands for, in mg.
pub const MILLI_G: f32 = 0.122;
/// Rotation that a count stands for, in m°/s.
pub const MILLI_DEGREES: f32 = 35.0;

/// One measurement, in counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Acceleration along x, y, z: [`MILLI_G`] a count.
    pub acceleration: [i16; 3],
    /// Rotation about x, y, z: [`MILLI_DEGREES`] a second a count.
    pub rotation: [i16; 3],
}

/// Why there is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The bus.
    Bus(E),
    /// Another device answers.
    Unknown {
        /// What it calls itself.
        found: u8,
    },
    /// The sensor does not come out of its reset.
    Reset,
    /// No measurement is ready in time.
    NotReady,
}

/// How registers are reached.
pub trait Bus {
    /// The bus's errors.
    type Error;

    /// Writes one register.
    ///
    /// # Errors
    /// The bus's.
    fn write(&mut self, register: u8, value: u8) -> Result<(), Self::Error>;

    /// Reads registers one after another.
    ///
    /// # Errors
    /// The bus's.
    fn read(&mut self, register: u8, values: &mut [u8]) -> Result<(), Self::Error>;
}

/// A sensor on an I²C bus.
#[derive(Debug)]
pub struct OverI2c<I> {
    /// The bus.
    pub bus: I,
    /// [`ADDRESS`], or one more.
    pub address: u8,
}

impl<I: I2c> Bus for OverI2c<I> {
    type Error = I::Error;

    fn write(&mut self, register: u8, value: u8) -> Result<(), I::Error> {
        self.bus.write(self.address, &[register, value])
    }

    fn read(&mut self, register: u8, values: &mut [u8]) -> Result<(), I::Error> {
        self.bus.write_read(self.address, &[register], values)
    }
}

/// A sensor on an SPI bus (mode 0 or 3, 10 MHz at most).
#[derive(Debug)]
pub struct OverSpi<S>(
    /// The device, with its chip select.
    pub S,
);

impl<S: SpiDevice> Bus for OverSpi<S> {
    type Error = S::Error;

    fn write(&mut self, register: u8, value: u8) -> Result<(), S::Error> {
        self.0.write(&[register, value])
    }

    fn read(&mut self, register: u8, values: &mut [u8]) -> Result<(), S::Error> {
        // The first bit says that it is a read.
        let command = [register | 0x80];
        self.0
            .transaction(&mut [Operation::Write(&command), Operation::Read(values)])
    }
}

/// A sensor that measures.
#[derive(Debug)]
pub struct Lsm6ds<B> {
    bus: B,
}

impl<B: Bus> Lsm6ds<B> {
    /// Milliseconds between looks, and how many looks: three periods.
    const PATIENCE: (u32, u32) = (1, 60);

    /// Finds the sensor, resets it and has it measure at 52 Hz, ±4 g and ±1000 °/s.
    ///
    /// # Errors
    /// It does not answer, is another one, or stays in its reset.
    pub fn start(mut bus: B, delay: &mut impl DelayNs) -> Result<Self, Error<B::Error>> {
        let mut value = [0];
        bus.read(register::WHO_AM_I, &mut value)
            .map_err(Error::Bus)?;
        let [found] = value;
        if !KNOWN.contains(&found) {
            return Err(Error::Unknown { found });
        }
        bus.write(register::CTRL3_C, RESET).map_err(Error::Bus)?;
        let mut looks = 0;
        loop {
            bus.read(register::CTRL3_C, &mut value)
                .map_err(Error::Bus)?;
            if value[0] & RESET == 0 {
                break;
            }
            looks += 1;
            if looks == Self::PATIENCE.1 {
                return Err(Error::Reset);
            }
            delay.delay_ms(Self::PATIENCE.0);
        }
        for (register, value) in [
            (register::CTRL3_C, BLOCK_UPDATE),
            (register::CTRL1_XL, RATE_AND_RANGE),
            (register::CTRL2_G, RATE_AND_RANGE),
        ] {
            bus.write(register, value).map_err(Error::Bus)?;
        }
        Ok(Lsm6ds { bus })
    }

    /// The next measurement, if there is one already.
    ///
    /// # Errors
    /// The bus's.
    pub fn poll(&mut self) -> Result<Option<Sample>, Error<B::Error>> {
        let mut status = [0];
        self.bus
            .read(register::STATUS_REG, &mut status)
            .map_err(Error::Bus)?;
        if status[0] & BOTH_NEW != BOTH_NEW {
            return Ok(None);
        }
        let mut bytes = [0; 12];
        self.bus
            .read(register::OUTX_L_G, &mut bytes)
            .map_err(Error::Bus)?;
        let mut sample = Sample::default();
        let axes = sample.rotation.iter_mut().chain(&mut sample.acceleration);
        for (axis, bytes) in axes.zip(bytes.as_chunks().0) {
            *axis = i16::from_le_bytes(*bytes);
        }
        Ok(Some(sample))
    }

    /// Waits for the next measurement.
    ///
    /// # Errors
    /// The bus's, or none comes within 60 ms.
    pub fn wait(&mut self, delay: &mut impl DelayNs) -> Result<Sample, Error<B::Error>> {
        for _ in 0..Self::PATIENCE.1 {
            if let Some(sample) = self.poll()? {
                return Ok(sample);
            }
            delay.delay_ms(Self::PATIENCE.0);
        }
        Err(Error::NotReady)
    }

    /// The bus, for other uses.
    pub fn release(self) -> B {
        self.bus
    }
}

#[cfg(test)]
mod tests;
