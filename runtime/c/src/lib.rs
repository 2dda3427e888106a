//! Kinglet for C: a plan with its memory behind a pointer. `include/kinglet.h` is made from this file; `examples/run.c` uses it.
//!
//! Nothing here panics, and plans are checked as a whole before anything runs, so a damaged one is an error. What cannot be checked
//! are the caller's pointers and lengths.

mod memory;
mod tensor;

pub use tensor::{KingletDtype, KingletTensor};

use kinglet::{DynSession, Plan, TensorInfo};
use memory::Memory;
use std::ffi::{CStr, c_char};
use std::slice;

/// What came of a call.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KingletStatus {
    /// Done.
    Ok = 0,
    /// A pointer is null that must not be.
    Null = 1,
    /// The bytes are no plan of this version, or a damaged one.
    Plan = 2,
    /// There is not enough memory.
    Memory = 3,
    /// There is no input or output of that index.
    Index = 4,
    /// The buffer has another length than the tensor.
    Length = 5,
    /// A step failed, which no plan of the compiler's does.
    Run = 6,
}

/// A model ready to run, by one thread at a time. Different models may run at the same time.
pub struct KingletModel {
    /// Before the memory that it borrows.
    session: DynSession<'static, 'static>,
    _arena: Memory,
    _plan: Memory,
}

impl KingletModel {
    fn open(bytes: &[u8]) -> Result<KingletModel, KingletStatus> {
        let mut stored = Memory::zeroed(bytes.len()).ok_or(KingletStatus::Memory)?;
        stored.bytes_mut().copy_from_slice(bytes);
        // SAFETY: the model owns the memory, drops it after the session, and gives nobody else a reference.
        let bytes = unsafe { stored.forever() };
        let plan = Plan::parse(bytes).map_err(|_| KingletStatus::Plan)?;
        let mut arena = Memory::zeroed(plan.arena_len()).ok_or(KingletStatus::Memory)?;
        // SAFETY: as above.
        let session = DynSession::new(plan, unsafe { arena.forever() });
        Ok(KingletModel {
            session: session.map_err(|_| KingletStatus::Plan)?,
            _arena: arena,
            _plan: stored,
        })
    }
}

/// Calls `body` with a model that is not null.
///
/// # Safety
/// The pointer is null or came from [`kinglet_open`] and is not closed.
unsafe fn with<R>(model: *const KingletModel, none: R, body: impl FnOnce(&KingletModel) -> R) -> R {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(none, body)
}

/// Makes a model of a plan, which is copied. The plan is checked; states that the model keeps from run to run begin with zeroes.
///
/// # Safety
/// `plan` points to `len` bytes; `model` may be written. Close what it becomes with [`kinglet_close`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_open(
    plan: *const u8,
    len: usize,
    model: *mut *mut KingletModel,
) -> KingletStatus {
    if plan.is_null() || model.is_null() {
        return KingletStatus::Null;
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice::from_raw_parts(plan, len) };
    match KingletModel::open(bytes) {
        Ok(opened) => {
            // SAFETY: the caller's promise.
            unsafe { *model = Box::into_raw(Box::new(opened)) };
            KingletStatus::Ok
        }
        Err(status) => status,
    }
}

/// Gives a model's memory back. Null is nothing to close.
///
/// # Safety
/// `model` came from [`kinglet_open`], is closed once, and nothing uses it afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_close(model: *mut KingletModel) {
    if !model.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(model) });
    }
}

/// The number of inputs; 0 for null.
///
/// # Safety
/// `model` is null or an open model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_input_count(model: *const KingletModel) -> usize {
    // SAFETY: the caller's promise.
    unsafe { with(model, 0, |model| model.session.plan().input_count()) }
}

/// The number of outputs; 0 for null.
///
/// # Safety
/// `model` is null or an open model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_output_count(model: *const KingletModel) -> usize {
    // SAFETY: the caller's promise.
    unsafe { with(model, 0, |model| model.session.plan().output_count()) }
}

/// Describes a tensor where there is one.
///
/// # Safety
/// `tensor` is null or may be written.
unsafe fn describe(info: Option<TensorInfo<'_>>, tensor: *mut KingletTensor) -> KingletStatus {
    // SAFETY: the caller's promise.
    match (info, unsafe { tensor.as_mut() }) {
        (_, None) => KingletStatus::Null,
        (None, _) => KingletStatus::Index,
        (Some(info), Some(tensor)) => {
            *tensor = KingletTensor::of(&info);
            KingletStatus::Ok
        }
    }
}

/// Describes input `index`.
///
/// # Safety
/// `model` is null or an open model; `tensor` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_input_info(
    model: *const KingletModel,
    index: usize,
    tensor: *mut KingletTensor,
) -> KingletStatus {
    // SAFETY: the caller's promise.
    unsafe {
        with(model, KingletStatus::Null, |model| {
            describe(model.session.plan().input(index), tensor)
        })
    }
}

/// Describes output `index`.
///
/// # Safety
/// `model` is null or an open model; `tensor` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_output_info(
    model: *const KingletModel,
    index: usize,
    tensor: *mut KingletTensor,
) -> KingletStatus {
    // SAFETY: the caller's promise.
    unsafe {
        with(model, KingletStatus::Null, |model| {
            describe(model.session.plan().output(index), tensor)
        })
    }
}

/// Copies `len` bytes to input `index`, all of it, in the order of its shape. Each run needs all inputs anew, but for states.
///
/// # Safety
/// `model` is null or an open model; `bytes` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_set_input(
    model: *mut KingletModel,
    index: usize,
    bytes: *const u8,
    len: usize,
) -> KingletStatus {
    // SAFETY: the caller's promise.
    let Some(model) = (unsafe { model.as_mut() }).filter(|_| !bytes.is_null()) else {
        return KingletStatus::Null;
    };
    match model.session.input_mut(index) {
        None => KingletStatus::Index,
        Some(input) if input.len() != len => KingletStatus::Length,
        Some(input) => {
            // SAFETY: the caller's promise.
            input.copy_from_slice(unsafe { slice::from_raw_parts(bytes, len) });
            KingletStatus::Ok
        }
    }
}

/// Computes the outputs of the inputs that were set.
///
/// # Safety
/// `model` is null or an open model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_run(model: *mut KingletModel) -> KingletStatus {
    // SAFETY: the caller's promise.
    match unsafe { model.as_mut() } {
        None => KingletStatus::Null,
        Some(model) => match model.session.run() {
            Ok(()) => KingletStatus::Ok,
            Err(_) => KingletStatus::Run,
        },
    }
}

/// Copies output `index` of the last run, all of it, to `len` bytes.
///
/// # Safety
/// `model` is null or an open model; `bytes` points to `len` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_get_output(
    model: *const KingletModel,
    index: usize,
    bytes: *mut u8,
    len: usize,
) -> KingletStatus {
    if bytes.is_null() {
        return KingletStatus::Null;
    }
    let copy = |model: &KingletModel| match model.session.output(index) {
        None => KingletStatus::Index,
        Some(output) if output.len() != len => KingletStatus::Length,
        Some(output) => {
            // SAFETY: the caller's promise.
            unsafe { slice::from_raw_parts_mut(bytes, len) }.copy_from_slice(output);
            KingletStatus::Ok
        }
    };
    // SAFETY: the caller's promise.
    unsafe { with(model, KingletStatus::Null, copy) }
}

/// What a status means, in English; it lives as long as the program.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_status_text(status: KingletStatus) -> *const c_char {
    let text: &CStr = match status {
        KingletStatus::Ok => c"done",
        KingletStatus::Null => c"a pointer is null",
        KingletStatus::Plan => {
            c"no plan of this version, or a damaged one: compile the model again"
        }
        KingletStatus::Memory => c"not enough memory",
        KingletStatus::Index => c"no input or output of that index",
        KingletStatus::Length => c"the buffer has another length than the tensor",
        KingletStatus::Run => c"a step failed",
    };
    text.as_ptr()
}

/// The version of the plan format that this library runs; a plan of another one is refused.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_plan_version() -> u32 {
    kinglet::format::VERSION.into()
}
