//! The functions as C calls them, with a plan that copies four bytes.

use kinglet_c::*;
use std::mem::MaybeUninit;
use std::ptr;

/// Bytes of the plan's input and output.
const LEN: usize = 4;

/// Calls `body` with an open model.
fn with_model(body: impl FnOnce(*mut KingletModel)) {
    let plan = kinglet::doc_plan();
    let mut model = ptr::null_mut();
    // SAFETY: the plan's bytes and a place for the pointer; closed once.
    unsafe {
        assert_eq!(
            kinglet_open(plan.as_ptr(), plan.len(), &mut model),
            KingletStatus::Ok
        );
        body(model);
        kinglet_close(model);
    }
}

#[test]
fn outputs_are_those_of_the_inputs() {
    with_model(|model| {
        for round in 0..3u8 {
            let input = [round, 7, 250, 1];
            let mut output = [0; LEN];
            // SAFETY: an open model and buffers of these lengths.
            unsafe {
                assert_eq!(kinglet_input_count(model), 1);
                assert_eq!(kinglet_output_count(model), 1);
                assert_eq!(
                    kinglet_set_input(model, 0, input.as_ptr(), LEN),
                    KingletStatus::Ok
                );
                assert_eq!(kinglet_run(model), KingletStatus::Ok);
                assert_eq!(
                    kinglet_get_output(model, 0, output.as_mut_ptr(), LEN),
                    KingletStatus::Ok
                );
            }
            assert_eq!(output, input);
        }
    });
}

#[test]
fn tensors_are_described() {
    with_model(|model| {
        let mut tensor = MaybeUninit::<KingletTensor>::zeroed();
        // SAFETY: an open model and a place for the description, which zeroes are valid for.
        let (status, tensor) = unsafe {
            let status = kinglet_output_info(model, 0, tensor.as_mut_ptr());
            (status, tensor.assume_init())
        };
        assert_eq!(status, KingletStatus::Ok);
        assert_eq!(tensor.len, LEN);
        let shape = &tensor.shape[..tensor.rank];
        assert_eq!(shape.iter().product::<usize>(), LEN);
    });
}

#[test]
fn what_cannot_be_is_refused() {
    with_model(|model| {
        let mut bytes = [0u8; LEN + 1];
        // SAFETY: an open model and buffers of these lengths, or null.
        unsafe {
            let set = |index, len| kinglet_set_input(model, index, bytes.as_ptr(), len);
            assert_eq!(set(1, LEN), KingletStatus::Index);
            assert_eq!(set(0, LEN + 1), KingletStatus::Length);
            assert_eq!(
                kinglet_set_input(model, 0, ptr::null(), LEN),
                KingletStatus::Null
            );
            let mut get = |index, len| kinglet_get_output(model, index, bytes.as_mut_ptr(), len);
            assert_eq!(get(7, LEN), KingletStatus::Index);
            assert_eq!(get(0, LEN - 1), KingletStatus::Length);
            assert_eq!(
                kinglet_output_info(model, 0, ptr::null_mut()),
                KingletStatus::Null
            );
        }
    });
    let nothing = ptr::null_mut();
    // SAFETY: null is allowed everywhere.
    unsafe {
        assert_eq!(kinglet_run(nothing), KingletStatus::Null);
        assert_eq!(kinglet_input_count(nothing), 0);
        kinglet_close(nothing);
    }
}

#[test]
fn a_damaged_plan_is_refused() {
    let mut plan = kinglet::doc_plan().to_vec();
    plan[40] ^= 1;
    let mut model = ptr::null_mut();
    // SAFETY: the plan's bytes and a place for the pointer.
    let status = unsafe { kinglet_open(plan.as_ptr(), plan.len(), &mut model) };
    assert_eq!((status, model), (KingletStatus::Plan, ptr::null_mut()));
}
