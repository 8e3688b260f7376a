//! Each planted fault of a kernel is found, by the check that is there for it.

mod device;

use device::{ASAN, Device, EAGER, TSAN, bad, caught, config};
use muster_cuda_double::{Mode, Modes, Order, Streams};

#[test]
fn a_missing_barrier_is_a_race() {
    caught(&bad(), TSAN, "data race", || {
        Device::open(0).run("missing_barrier_kernel", config(1, 64, 0));
    });
}

#[test]
fn a_missing_barrier_shows_in_some_order() {
    let modes = Modes::only(EAGER).and(Mode::plain(Order::Reverse, Streams::Eager));
    let outcomes = bad().outcomes(&modes, || {
        let x = Device::open(0).run("missing_barrier_kernel", config(1, 64, 0));
        let expected: Vec<f32> = (0_i16..64).rev().map(f32::from).collect();
        assert_eq!(x, expected);
    });
    assert!(outcomes.is_none_or(|outcomes| outcomes.iter().any(|outcome| !outcome.passed)));
}

#[test]
fn diverging_barriers_are_named_with_their_lines() {
    caught(&bad(), EAGER, "barrier divergence", || {
        Device::open(0).run("diverging_kernel", config(1, 64, 0));
    });
}

#[test]
fn a_write_past_the_end_is_seen_in_the_plain_build() {
    caught(&bad(), EAGER, "was written past its end, at byte 256", || {
        Device::open(0).run("one_too_far_kernel", config(1, 64, 0));
    });
}

#[test]
fn a_write_past_the_end_has_a_line_under_asan() {
    caught(&bad(), ASAN, "in one_too_far_kernel", || {
        Device::open(0).run("one_too_far_kernel", config(1, 64, 0));
    });
}

#[test]
fn a_misaligned_vector_is_seen() {
    caught(&bad(), ASAN, "misaligned address", || {
        Device::open(0).run("misaligned_kernel", config(1, 64, 0));
    });
}

#[test]
fn unset_shared_memory_is_not_a_number() {
    caught(&bad(), EAGER, "NaN", || {
        let x = Device::open(0).run("unset_shared_kernel", config(1, 64, 0));
        assert!(x.iter().all(|value| value.is_finite()), "{x:?}");
    });
}

#[test]
fn unset_dynamic_shared_memory_is_not_a_number() {
    caught(&bad(), EAGER, "NaN", || {
        let x = Device::open(0).run("unset_dynamic_kernel", config(1, 64, 256));
        assert!(x.iter().all(|value| value.is_finite()), "{x:?}");
    });
}

#[test]
fn a_shuffle_with_lanes_missing_is_a_fault() {
    caught(&bad(), EAGER, "a warp call with mask ffffffff waits for lane", || {
        Device::open(0).run("partial_shuffle_kernel", config(1, 64, 0));
    });
}

#[test]
fn a_shuffle_with_an_exited_lane_is_a_fault() {
    caught(&bad(), EAGER, "lane", || {
        Device::open(0).run("exited_shuffle_kernel", config(1, 32, 0));
    });
}

#[test]
fn a_partial_warp_does_not_have_all_lanes() {
    caught(&bad(), EAGER, "have exited or do not exist", || {
        Device::open(0).run("exited_shuffle_kernel", config(1, 20, 0));
    });
}

#[test]
fn threads_that_wait_for_each_other_are_a_deadlock() {
    caught(&bad(), EAGER, "deadlock", || {
        Device::open(0).run("mixed_wait_kernel", config(1, 32, 0));
    });
}

#[test]
fn a_wild_address_is_an_error_and_not_a_crash() {
    caught(&bad(), EAGER, "kernel wild_kernel, block (0, 0, 0), thread (3, 0, 0)", || {
        Device::open(0).run("wild_kernel", config(1, 64, 0));
    });
}

#[test]
fn a_stack_overflow_is_an_error_and_not_a_crash() {
    caught(&bad(), EAGER, "stack overflow of a CUDA thread", || {
        Device::open(0).run("endless_stack_kernel", config(1, 1, 0));
    });
}

#[test]
fn a_division_by_zero_is_an_error_and_not_a_crash() {
    caught(&bad(), EAGER, "division by zero", || {
        Device::open(0).run("dividing_kernel", config(1, 1, 0));
    });
}

#[test]
fn an_add_that_is_not_atomic_is_a_race() {
    caught(&bad(), TSAN, "data race", || {
        Device::open(0).run("plain_add_kernel", config(1, 64, 0));
    });
}

#[test]
fn blocks_that_write_the_same_place_are_a_race() {
    caught(&bad(), TSAN, "data race", || {
        Device::open(0).run("two_blocks_kernel", config(2, 64, 0));
    });
}

#[test]
fn two_warps_in_one_slice_are_a_race() {
    caught(&bad(), TSAN, "data race", || {
        Device::open(0).run("shared_slice_kernel", config(1, 64, 0));
    });
}

#[test]
fn a_grid_barrier_without_fences_is_a_race() {
    caught(&bad(), TSAN, "data race", || {
        let device = Device::open(0);
        let mut x = device.zeros();
        device.launch_cooperative("unfenced_barrier_kernel", &mut x, config(4, 32, 0)).unwrap();
        device.stream.synchronize().unwrap();
    });
}

#[test]
fn a_spin_without_a_cooperative_launch_ends() {
    caught(&bad(), EAGER, "spins for ever", || {
        Device::open(0).run("spinning_kernel", config(1, 1, 0));
    });
}

#[test]
fn a_spin_that_nobody_ends_is_a_deadlock() {
    caught(&bad(), EAGER, "only spin and nothing changes", || {
        let device = Device::open(0);
        let mut x = device.zeros();
        device.launch_cooperative("spinning_kernel", &mut x, config(3, 32, 0)).unwrap();
        device.stream.synchronize().unwrap();
    });
}

#[test]
fn an_index_that_overflows_is_seen() {
    caught(&bad(), ASAN, "signed integer overflow", || {
        Device::open(0).run("overflowing_kernel", config(1, 64, 0));
    });
}

#[test]
fn static_shared_memory_has_an_end() {
    caught(&bad(), ASAN, "past_static_kernel", || {
        Device::open(0).run("past_static_kernel", config(1, 64, 0));
    });
}

#[test]
fn dynamic_shared_memory_has_an_end_under_asan() {
    caught(&bad(), ASAN, "in past_dynamic_kernel", || {
        Device::open(0).run("past_dynamic_kernel", config(1, 64, 256));
    });
}

#[test]
fn dynamic_shared_memory_has_an_end_in_the_plain_build() {
    caught(&bad(), EAGER, "past its 256 bytes of dynamic shared memory", || {
        Device::open(0).run("past_dynamic_kernel", config(1, 64, 256));
    });
}

#[test]
fn a_failed_kernel_fails_every_later_call() {
    bad().everywhere(&Modes::usual(), || {
        let device = Device::open(0);
        let mut x = device.zeros();
        device.stream.synchronize().unwrap();
        // In eager mode the launch still succeeds: what a kernel does shows later, as on a device.
        device.launch("diverging_kernel", &mut x, config(1, 64, 0)).unwrap();
        let error = device.stream.synchronize().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("barrier divergence") && text.contains("diverging_kernel"), "{text}");
        assert!(device.stream.alloc_zeros::<f32>(1).is_err());
        // What the failed context cannot free is not this test's leak.
    });
}
