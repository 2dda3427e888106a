//! Bringing an image to a device.

use super::image::ImageInfo;
use super::link::{Link, LinkError, Transport};
use kinglet::slots::{CHUNK_LEN, Fault, Message, PROTOCOL, Refusal, Reply, Running, Status};
use std::thread;
use std::time::{Duration, Instant};

/// Time for a device to boot, test the model and confirm it.
const BOOT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Why the image does not run on the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The file is no image.
    #[error("not an image to push: {0}")]
    Image(Refusal),
    /// The device does not answer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The device speaks another protocol.
    #[error("the device speaks version {found} of the protocol, this kinglet version {PROTOCOL}")]
    Protocol {
        /// Of the device.
        found: u8,
    },
    /// The device refused.
    #[error("the device refuses the image ({}): {refusal}; {}", refusal.name(), runs(*running))]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Version of the model that goes on running.
        running: Option<u32>,
    },
    /// The device started the model and gave it up.
    #[error("the device gave version {version} up: {fault}; {}", runs(*running))]
    RolledBack {
        /// The model's version.
        version: u32,
        /// Why.
        fault: Fault,
        /// Version of the model that runs again.
        running: Option<u32>,
    },
    /// After the restart the device runs something else, and does not say why.
    #[error("version {version} does not run after the restart; {}", runs(*running))]
    NotRunning {
        /// The model's version.
        version: u32,
        /// Version of the model that runs.
        running: Option<u32>,
    },
    /// The reply does not fit the request.
    #[error("the device gave a reply that does not fit the request: {0}")]
    Reply(String),
}

fn runs(version: Option<u32>) -> String {
    match version {
        Some(version) => format!("version {version} runs"),
        None => "no model runs".into(),
    }
}

/// How it ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The image is on the device, and is tried at its next boot.
    Received,
    /// The model runs, and stays.
    Confirmed,
    /// The model runs, and the device has not confirmed it yet.
    OnTrial,
}

/// What is going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The device has answered.
    Connected(Status),
    /// So many bytes have been sent.
    Sent(usize),
    /// The device checks what it got.
    Checking,
    /// The device starts anew.
    Restarting,
}

/// Brings `image` to the device and, with `restart`, waits until it runs. `progress` hears of every step.
///
/// # Errors
/// The device does not answer, or refuses, or gives the model up. Then the model that ran before goes on running.
pub fn push<T: Transport>(
    link: &mut Link<T>,
    image: &[u8],
    restart: bool,
    progress: &dyn Fn(Step),
) -> Result<Outcome, PushError> {
    let info = ImageInfo::parse(image).map_err(PushError::Image)?;
    let before = status(link)?;
    progress(Step::Connected(before));
    if before.protocol != PROTOCOL {
        return Err(PushError::Protocol {
            found: before.protocol,
        });
    }
    let running = version(&before);
    let mut done = |message| match link.request(message)? {
        Reply::Done { value } => Ok(value),
        Reply::Refused(refusal) => Err(PushError::Refused { refusal, running }),
        other => Err(PushError::Reply(format!("{other:?}"))),
    };
    done(Message::Begin {
        len: image.len() as u32,
    })?;
    for (index, bytes) in image.chunks(CHUNK_LEN).enumerate() {
        let offset = index * CHUNK_LEN;
        done(Message::Data {
            offset: offset as u32,
            bytes,
        })?;
        progress(Step::Sent(offset + bytes.len()));
    }
    progress(Step::Checking);
    done(Message::Finish)?;
    if !restart {
        return Ok(Outcome::Received);
    }
    progress(Step::Restarting);
    done(Message::Restart)?;
    let until = Instant::now() + BOOT;
    loop {
        let now = status(link)?;
        let running = version(&now);
        if running == Some(info.version) {
            match now.running {
                Running::Confirmed => return Ok(Outcome::Confirmed),
                // It may take the application's time to confirm.
                _ if Instant::now() > until => return Ok(Outcome::OnTrial),
                _ => {}
            }
        } else if let Some((version, fault)) = now.failed.filter(|f| f.0 == info.version) {
            return Err(PushError::RolledBack {
                version,
                fault,
                running,
            });
        } else if Instant::now() > until {
            return Err(PushError::NotRunning {
                version: info.version,
                running,
            });
        }
        thread::sleep(POLL);
    }
}

fn version(status: &Status) -> Option<u32> {
    (status.running != Running::Nothing).then_some(status.version)
}

fn status<T: Transport>(link: &mut Link<T>) -> Result<Status, PushError> {
    match link.request(Message::Status)? {
        Reply::Status(status) => Ok(status),
        other => Err(PushError::Reply(format!("{other:?}"))),
    }
}
