//! Kinglet for the web: one model an instance of this module, which `kinglet.js` drives. It imports nothing, and takes memory by
//! growing its own, which goes with the instance.
//!
//! JavaScript writes the plan into what [`kinglet_reserve`] gives, calls [`kinglet_open`], and then for each inference writes the
//! inputs, calls [`kinglet_run`] and reads the outputs. WebAssembly bounds every access to the instance's own memory.

#![no_std]
#![deny(warnings)]

use core::arch::wasm32;
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::slice;
use kinglet::{DynSession, Plan, TensorInfo};

const PAGE: usize = 65_536;

/// Bytes for the text of an error.
const TEXT: usize = 256;

/// What the instance holds.
struct State {
    session: Option<DynSession<'static, 'static>>,
    tensor: Tensor,
    text: Text,
}

struct Shared(UnsafeCell<State>);

// SAFETY: an instance without shared memory has one thread.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    session: None,
    tensor: Tensor::EMPTY,
    text: Text {
        bytes: [0; TEXT],
        len: 0,
    },
}));

/// Calls `body` with the instance's state.
fn with<R>(body: impl FnOnce(&mut State) -> R) -> R {
    // SAFETY: there is one thread, and no function of this crate calls another one that comes here while it is in `body`.
    body(unsafe { &mut *STATE.0.get() })
}

/// An error in words, cut off where there is no more room.
struct Text {
    bytes: [u8; TEXT],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}

/// An input or output, as JavaScript reads it: words of 32 bits.
#[repr(C)]
pub struct Tensor {
    /// 0 for `f32`, 1 for `i8`, 2 for `u8`, 3 for `i32`.
    dtype: u32,
    rank: u32,
    dims: [u32; 8],
    /// Bytes.
    len: u32,
    scale: f32,
    zero_point: i32,
    /// Of an input that keeps its value from run to run: 1 + the index of the output that becomes it; else 0.
    state: u32,
    name: *const u8,
    name_len: u32,
    data: *const u8,
}

impl Tensor {
    const EMPTY: Tensor = Tensor {
        dtype: 0,
        rank: 0,
        dims: [0; 8],
        len: 0,
        scale: 0.0,
        zero_point: 0,
        state: 0,
        name: core::ptr::null(),
        name_len: 0,
        data: core::ptr::null(),
    };

    fn of(info: &TensorInfo<'_>, data: *const u8) -> Tensor {
        let mut dims = [0; 8];
        for (to, from) in dims.iter_mut().zip(info.shape()) {
            *to = *from as u32;
        }
        Tensor {
            dtype: match info.dtype {
                kinglet::format::DType::F32 => 0,
                kinglet::format::DType::I8 => 1,
                kinglet::format::DType::U8 => 2,
                kinglet::format::DType::I32 => 3,
            },
            rank: info.rank as u32,
            dims,
            len: info.len as u32,
            scale: info.scale,
            zero_point: info.zero_point,
            state: info.state as u32,
            name: info.name.as_ptr(),
            name_len: info.name.len() as u32,
            data,
        }
    }
}

/// So many zeroes at a multiple of 16, for as long as the instance lives; null where there is not so much memory.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_reserve(len: usize) -> *mut u8 {
    match wasm32::memory_grow(0, len.div_ceil(PAGE)) {
        usize::MAX => core::ptr::null_mut(),
        pages => (pages * PAGE) as *mut u8,
    }
}

/// Checks the plan and takes the memory that it needs. 0 when it is ready; otherwise [`kinglet_text`] says why not.
///
/// # Safety
/// `plan` came from [`kinglet_reserve`] with at least `len`, and nobody writes there any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_open(plan: *const u8, len: usize) -> u32 {
    // SAFETY: the caller's promise.
    let bytes: &'static [u8] = unsafe { slice::from_raw_parts(plan, len) };
    let opened = Plan::parse(bytes).map_err(|error| explain(&error));
    let session = opened.and_then(|plan| {
        let len = plan.arena_len();
        let arena = kinglet_reserve(len);
        if arena.is_null() {
            return Err(explain(&"there is not enough memory for the model"));
        }
        // SAFETY: this is fresh memory of that length, which nobody else knows.
        let arena = unsafe { slice::from_raw_parts_mut(arena, len) };
        DynSession::new(plan, arena).map_err(|error| explain(&error))
    });
    match session {
        Ok(session) => with(|state| {
            state.session = Some(session);
            0
        }),
        Err(failed) => failed,
    }
}

/// Keeps an error's text; 1.
fn explain(error: &dyn fmt::Display) -> u32 {
    with(|state| {
        state.text.len = 0;
        // It takes whatever fits.
        let _ = write!(state.text, "{error}");
    });
    1
}

/// Where the text of the last error is, in UTF-8 but for its end.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_text() -> *const u8 {
    with(|state| state.text.bytes.as_ptr())
}

/// Bytes of [`kinglet_text`].
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_text_len() -> usize {
    with(|state| state.text.len)
}

/// Input `index` with the place of its bytes, until the next call; null where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_input(index: usize) -> *const Tensor {
    with(|state| {
        let session = state.session.as_mut()?;
        let info = session.plan().input(index)?;
        let data = session.input_mut(index)?.as_ptr();
        state.tensor = Tensor::of(&info, data);
        Some(&raw const state.tensor)
    })
    .unwrap_or(core::ptr::null())
}

/// Output `index` with the place of its bytes, until the next call; null where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_output(index: usize) -> *const Tensor {
    with(|state| {
        let session = state.session.as_ref()?;
        let info = session.plan().output(index)?;
        state.tensor = Tensor::of(&info, session.output(index)?.as_ptr());
        Some(&raw const state.tensor)
    })
    .unwrap_or(core::ptr::null())
}

/// Computes the outputs of the inputs that were written. 0 when it is done; otherwise [`kinglet_text`] says why not.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_run() -> u32 {
    let done = with(|state| state.session.as_mut().map(DynSession::run));
    match done {
        Some(Ok(())) => 0,
        Some(Err(error)) => explain(&error),
        None => explain(&"no plan is open"),
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    wasm32::unreachable()
}
