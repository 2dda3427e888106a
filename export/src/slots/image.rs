//! Signed images.

use super::key::{SecretKey, hex};
use crate::compile;
use crate::host::{AlignedBytes, HostError, Runner};
use kinglet::slots::{HEADER_LEN, ImageHeader, Refusal, Target, flags, key_id};
use kinglet::{Plan, PlanError, RunError};
use zerocopy::IntoBytes;

/// How an image is signed.
#[derive(Clone, Copy, Debug)]
pub struct SignOptions {
    /// Version of the model: each that is rolled out has a higher one.
    pub version: u32,
    /// The core that the plan is compiled for.
    pub target: compile::Target,
    /// Whether the model may replace one with a higher version.
    pub allow_older: bool,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The plan does not run here.
    #[error("the plan cannot be signed: {0}")]
    Plan(#[from] HostError),
    /// The plan's self-test fails here, so it would fail on the device.
    #[error(
        "the plan's self-test fails on this machine, so that every device would give the model up: {0}"
    )]
    SelfTest(RunError),
}

impl From<PlanError> for SignError {
    fn from(error: PlanError) -> Self {
        SignError::Plan(error.into())
    }
}

/// Signs `plan` after it has passed its self-test on this machine; the image.
///
/// # Errors
/// The plan does not run here.
pub fn sign(plan: &[u8], options: SignOptions, key: &SecretKey) -> Result<Vec<u8>, SignError> {
    Runner::new(plan)?
        .self_test()
        .map_err(|error| match error {
            HostError::Run(error) => SignError::SelfTest(error),
            other => SignError::Plan(other),
        })?;
    seal(plan, options, key)
}

/// As [`sign`], without the self-test.
///
/// # Errors
/// The plan is none.
pub fn seal(plan: &[u8], options: SignOptions, key: &SecretKey) -> Result<Vec<u8>, SignError> {
    let aligned = AlignedBytes::from(plan);
    let core_len = Plan::parse(aligned.bytes())?.core_len();
    let flags = match options.allow_older {
        true => flags::ALLOW_OLDER,
        false => 0,
    };
    let id = key_id(&key.public().0);
    let mut header = ImageHeader::unsigned(
        aligned.bytes(),
        options.version,
        device_target(options.target),
        flags,
        id,
    )?;
    let core = &aligned.bytes()[..core_len];
    header.signature = key.sign(&[header.signed(), core].concat());
    Ok([header.as_bytes(), core].concat())
}

/// What devices call a target of the compiler.
fn device_target(target: compile::Target) -> Target {
    match target {
        compile::Target::Host => Target::Any,
        compile::Target::CortexM0 => Target::CortexM0,
        compile::Target::CortexM3 => Target::CortexM3,
        compile::Target::CortexM4f => Target::CortexM4f,
        compile::Target::CortexM7 => Target::CortexM7,
        compile::Target::CortexM33 => Target::CortexM33,
        compile::Target::CortexM55 => Target::CortexM55,
        compile::Target::Riscv32imc => Target::Riscv32imc,
    }
}

/// What an image says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageInfo {
    /// Version of the model.
    pub version: u32,
    /// The core that it is for.
    pub target: &'static str,
    /// Whether it may replace a model with a higher version.
    pub allow_older: bool,
    /// Bytes of the plan.
    pub plan_bytes: u32,
    /// Bytes of arena.
    pub arena_bytes: u32,
    /// Name of the key that signed.
    pub key: String,
}

impl ImageInfo {
    /// What the image in `bytes` says; its signature is the device's to check.
    ///
    /// # Errors
    /// It is no image, or cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let header = ImageHeader::parse(bytes)?;
        let (expected, found) = (header.image_len().unwrap_or(u32::MAX), bytes.len());
        if expected as usize != found {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(Refusal::Length { expected, found });
        }
        Ok(ImageInfo {
            version: header.model_version.get(),
            target: Target::name_of(header.target.get()),
            allow_older: header.allows_older(),
            plan_bytes: (bytes.len() - HEADER_LEN) as u32,
            arena_bytes: header.arena_len.get(),
            key: hex(&header.key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_the_device_checks() {
        let key = SecretKey::from_seed(&[1; 32]);
        let options = SignOptions {
            version: 12,
            target: compile::Target::CortexM33,
            allow_older: true,
        };
        let plan = kinglet::doc_plan();
        let image = seal(&plan, options, &key).unwrap();
        let arena_len = Plan::parse(AlignedBytes::from(&plan[..]).bytes())
            .unwrap()
            .arena_len() as u32;
        let header = ImageHeader::parse(&image).unwrap();
        let message = [header.signed(), &image[HEADER_LEN..]].concat();
        assert!(kinglet::slots::verify(
            &key.public().0,
            &message,
            &header.signature
        ));
        let info = ImageInfo::parse(&image).unwrap();
        assert_eq!(
            (
                info.version,
                info.target,
                info.allow_older,
                info.arena_bytes
            ),
            (12, "cortex-m33", true, arena_len)
        );
        assert_eq!(info.key, key.public().id());
        assert!(matches!(
            ImageInfo::parse(&image[..image.len() - 1]),
            Err(Refusal::Length { .. })
        ));
    }

    #[test]
    fn a_plan_whose_self_test_fails_is_not_signed() {
        // The documentation's plan has no self-test.
        let key = SecretKey::from_seed(&[1; 32]);
        let options = SignOptions {
            version: 1,
            target: compile::Target::Host,
            allow_older: false,
        };
        assert!(matches!(
            sign(&kinglet::doc_plan(), options, &key),
            Err(SignError::SelfTest(_))
        ));
    }
}
