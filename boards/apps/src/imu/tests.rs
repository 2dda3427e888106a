//! The driver against `embedded-hal-mock`: exactly these transfers.

use super::*;
use embedded_hal_mock::eh1::delay::NoopDelay;
use embedded_hal_mock::eh1::i2c::{Mock as I2cMock, Transaction as I2c};
use embedded_hal_mock::eh1::spi::{Mock as SpiMock, Transaction as Spi};
use std::vec;
use std::vec::Vec;

extern crate std;

fn start(resets: usize) -> Vec<I2c> {
    let read = |register: u8, value: u8| I2c::write_read(ADDRESS, vec![register], vec![value]);
    let mut transfers = vec![read(0x0f, 0x6a), I2c::write(ADDRESS, vec![0x12, 0x01])];
    transfers.extend(vec![read(0x12, 0x05); resets]);
    transfers.extend([
        read(0x12, 0x04),
        I2c::write(ADDRESS, vec![0x12, 0x44]),
        I2c::write(ADDRESS, vec![0x10, 0x38]),
        I2c::write(ADDRESS, vec![0x11, 0x38]),
    ]);
    transfers
}

fn over_i2c(transfers: &[I2c]) -> OverI2c<I2cMock> {
    OverI2c {
        bus: I2cMock::new(transfers),
        address: ADDRESS,
    }
}

const BYTES: [u8; 12] = [1, 0, 0, 0x80, 0xff, 0xff, 0, 0x20, 0xff, 0x7f, 2, 1];
const SAMPLE: Sample = Sample {
    acceleration: [8192, 32767, 258],
    rotation: [1, -32768, -1],
};

#[test]
fn the_sensor_is_reset_and_set_up_over_i2c_and_its_registers_become_numbers() {
    let mut transfers = start(2);
    let status = |value| I2c::write_read(ADDRESS, vec![0x1e], vec![value]);
    transfers.extend([
        status(0b10),
        status(0b01),
        status(0b111),
        I2c::write_read(ADDRESS, vec![0x22], BYTES.to_vec()),
        status(0),
    ]);
    let mut sensor = Lsm6ds::start(over_i2c(&transfers), &mut NoopDelay::new()).unwrap();
    assert_eq!(sensor.poll(), Ok(None));
    assert_eq!(sensor.wait(&mut NoopDelay::new()), Ok(SAMPLE));
    assert_eq!(sensor.poll(), Ok(None));
    sensor.release().bus.done();
}

#[test]
fn over_spi_reads_have_their_first_bit_set() {
    let write = |bytes: &[u8]| {
        [
            Spi::transaction_start(),
            Spi::write_vec(bytes.to_vec()),
            Spi::transaction_end(),
        ]
    };
    let read = |register: u8, bytes: &[u8]| {
        [
            Spi::transaction_start(),
            Spi::write_vec(vec![register]),
            Spi::read_vec(bytes.to_vec()),
            Spi::transaction_end(),
        ]
    };
    let mut transfers = Vec::new();
    transfers.extend(read(0x8f, &[0x69]));
    transfers.extend(write(&[0x12, 0x01]));
    transfers.extend(read(0x92, &[0x04]));
    transfers.extend(write(&[0x12, 0x44]));
    transfers.extend(write(&[0x10, 0x38]));
    transfers.extend(write(&[0x11, 0x38]));
    transfers.extend(read(0x9e, &[0b11]));
    transfers.extend(read(0xa2, &BYTES));
    let bus = OverSpi(SpiMock::new(&transfers));
    let mut sensor = Lsm6ds::start(bus, &mut NoopDelay::new()).unwrap();
    assert_eq!(sensor.poll(), Ok(Some(SAMPLE)));
    sensor.release().0.done();
}

#[test]
fn another_device_an_endless_reset_and_a_sensor_without_news_are_errors() {
    let delay = &mut NoopDelay::new();
    let transfers = [I2c::write_read(ADDRESS, vec![0x0f], vec![0x33])];
    let mut bus = I2cMock::new(&transfers);
    let sensor = Lsm6ds::start(over(&mut bus), delay);
    assert_eq!(sensor.err(), Some(Error::Unknown { found: 0x33 }));
    bus.done();

    let mut transfers = start(60);
    transfers.truncate(2 + 60);
    let mut bus = I2cMock::new(&transfers);
    assert_eq!(
        Lsm6ds::start(over(&mut bus), delay).err(),
        Some(Error::Reset)
    );
    bus.done();

    let mut transfers = start(0);
    transfers.extend(vec![I2c::write_read(ADDRESS, vec![0x1e], vec![0b100]); 60]);
    let mut bus = I2cMock::new(&transfers);
    let mut sensor = Lsm6ds::start(over(&mut bus), delay).unwrap();
    assert_eq!(sensor.wait(delay), Err(Error::NotReady));
    drop(sensor);
    bus.done();
}

#[test]
fn an_error_of_the_bus_is_handed_on() {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    let kind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    let transfers = [I2c::write_read(ADDRESS, vec![0x0f], vec![0]).with_error(kind)];
    let mut bus = I2cMock::new(&transfers);
    let sensor = Lsm6ds::start(over(&mut bus), &mut NoopDelay::new());
    assert_eq!(sensor.err(), Some(Error::Bus(kind)));
    bus.done();
}

fn over(bus: &mut I2cMock) -> OverI2c<&mut I2cMock> {
    OverI2c {
        bus,
        address: ADDRESS,
    }
}
