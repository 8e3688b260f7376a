//! Each planted mistake of a host program is found: order of streams, lifetime and place of memory, launches, graphs.

#![allow(unsafe_code, reason = "plants mistakes that the safe API does not allow")]

mod device;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, DevicePtr, DriverError, PushKernelArg, result};
use cudarc::nvrtc::Ptx;
use device::{Device, EAGER, LAZY, bad, caught, config, good};
use muster_cuda_double::Modes;

const CAPTURE: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

#[test]
fn a_missing_event_between_two_streams_shows_in_lazy_mode() {
    caught(&good(), LAZY, "the second stream read what was not there yet", || {
        let device = Device::open(0);
        // SAFETY: the point of the test: nobody orders the two streams.
        unsafe { device.context.disable_event_tracking() };
        let (first, second) = (device.context.new_stream().unwrap(), device.context.new_stream().unwrap());
        let x = first.clone_htod(&[1.0f32; 64]).unwrap();
        let mut y = device.zeros();
        device.context.synchronize().unwrap();
        let kernel = device.kernel("scale_kernel");
        // SAFETY: 64 floats each.
        unsafe {
            first
                .launch_builder(&kernel)
                .arg(&x)
                .arg(&mut y)
                .arg(&4.0f32)
                .arg(&64i32)
                .launch(config(1, 64, 0))
        }
        .unwrap();
        let seen = second.clone_dtoh(&y).unwrap();
        assert_eq!(seen, [4.0; 64], "the second stream read what was not there yet");
    });
}

#[test]
fn pinned_memory_that_changes_before_its_copy_shows_in_lazy_mode() {
    caught(&good(), LAZY, "the copy took the later bytes", || {
        let device = Device::open(0);
        // SAFETY: the point of the test: nobody waits for the copy.
        unsafe { device.context.disable_event_tracking() };
        let stream = device.context.new_stream().unwrap();
        // SAFETY: written before it is read.
        let mut pinned = unsafe { device.context.alloc_pinned::<f32>(64) }.unwrap();
        pinned.as_mut_slice().unwrap().fill(1.0);
        let mut x = device.zeros();
        device.context.synchronize().unwrap();
        // SAFETY: 64 floats on either side.
        unsafe {
            result::memcpy_htod_async(
                x.device_ptr(&stream).0,
                pinned.as_slice().unwrap(),
                stream.cu_stream(),
            )
            .unwrap();
        }
        pinned.as_mut_slice().unwrap().fill(2.0);
        stream.synchronize().unwrap();
        let seen = device.stream.clone_dtoh(&x).unwrap();
        device.stream.memset_zeros(&mut x).unwrap();
        assert_eq!(seen, [1.0; 64], "the copy took the later bytes");
    });
}

#[test]
fn memory_that_is_never_freed_is_a_leak() {
    caught(&good(), EAGER, "muster-double: leak: memory #1 of device 0 (256 bytes)", || {
        let device = Device::open(0);
        std::mem::forget(device.zeros());
    });
}

#[test]
fn freed_memory_is_not_copied() {
    caught(&good(), EAGER, "memory #1 of device 0 (256 bytes) was freed", || {
        let device = Device::open(0);
        let x = device.zeros();
        let at = x.device_ptr(&device.stream).0;
        drop(x);
        // SAFETY: the double refuses the call.
        unsafe { result::memcpy_dtoh_sync(&mut [0.0f32; 64], at) }.unwrap();
    });
}

#[test]
fn memory_is_freed_once() {
    caught(&good(), EAGER, "is freed twice", || {
        let device = Device::open(0);
        let x = device.zeros();
        // SAFETY: the double refuses the second call, which is the drop's.
        unsafe { result::free_sync(x.device_ptr(&device.stream).0) }.unwrap();
        drop(x);
        device.context.check_err().unwrap();
    });
}

#[test]
fn a_copy_past_the_end_is_refused() {
    caught(&good(), EAGER, "is used up to byte 260", || {
        let device = Device::open(0);
        let x = device.zeros();
        // SAFETY: the double refuses the call.
        unsafe { result::memcpy_dtoh_sync(&mut [0.0f32; 65], x.device_ptr(&device.stream).0) }.unwrap();
    });
}

#[test]
fn memory_of_another_device_is_not_a_kernel_argument() {
    caught(
        &good().with("MUSTER_DOUBLE_DEVICES", "2"),
        EAGER,
        "memory #1 of device 1 (256 bytes) is used on device 0",
        || {
            let (here, there) = (Device::open(0), Device::open(1));
            let x = there.zeros();
            let mut y = here.zeros();
            let kernel = here.kernel("scale_kernel");
            // SAFETY: the double refuses the launch.
            unsafe {
                here.stream
                    .launch_builder(&kernel)
                    .arg(&x)
                    .arg(&mut y)
                    .arg(&1.0f32)
                    .arg(&64i32)
                    .launch(config(1, 64, 0))
            }
            .unwrap();
        },
    );
}

#[test]
fn host_memory_is_not_a_kernel_argument() {
    caught(&good(), EAGER, "is neither device nor pinned memory", || {
        let device = Device::open(0);
        let host = [1.0f32; 64];
        let mut y = device.zeros();
        let kernel = device.kernel("scale_kernel");
        // SAFETY: the double refuses the launch.
        unsafe {
            device
                .stream
                .launch_builder(&kernel)
                .arg(&(host.as_ptr() as u64))
                .arg(&mut y)
                .arg(&1.0f32)
                .arg(&64i32)
                .launch(config(1, 64, 0))
        }
        .unwrap();
    });
}

#[test]
fn a_call_without_a_context_is_refused() {
    caught(&good(), EAGER, "no current context", || {
        result::init().unwrap();
        // SAFETY: the double refuses the call.
        unsafe { result::malloc_sync(64) }.unwrap();
    });
}

#[test]
fn sizes_of_a_launch_are_checked() {
    bad().everywhere(&Modes::only(EAGER), || {
        let device = Device::open(0);
        let mut x = device.zeros();
        let invalid = Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE));
        for cfg in [config(1, 1025, 0), config(0, 32, 0), config(1, 0, 0), config(1, 32, 48 * 1024 + 1)] {
            assert_eq!(device.launch("wild_kernel", &mut x, cfg), invalid, "{cfg:?}");
        }
        // Above its launch bounds.
        let kernel = device.kernel("sum_kernel");
        // SAFETY: the double refuses the launch.
        let launched = unsafe {
            device.stream.launch_builder(&kernel).arg(&x).arg(&x).arg(&64i32).launch(config(1, 129, 0))
        };
        assert!(launched.is_err());
        // More blocks than live at once.
        let error = device.launch_cooperative("spinning_kernel", &mut x, config(1000, 1024, 0)).unwrap_err();
        assert_eq!(error.0, CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    });
}

#[test]
fn shared_memory_above_48_kib_needs_an_opt_in() {
    good().everywhere(&Modes::usual(), || {
        let device = Device::open(0);
        let kernel = device.kernel("reverse_kernel");
        let x = device.stream.clone_htod(&[1.0f32; 128]).unwrap();
        let mut y = device.stream.alloc_zeros::<f32>(128).unwrap();
        let large = config(1, 32, 64 * 1024);
        // SAFETY: 32 threads move a float4 each.
        let mut launch =
            || unsafe { device.stream.launch_builder(&kernel).arg(&x).arg(&mut y).launch(large) };
        assert!(launch().is_err());
        let attribute =
            cudarc::driver::sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        kernel.set_attribute(attribute, 64 * 1024).unwrap();
        launch().unwrap();
        assert!(kernel.set_attribute(attribute, 228 * 1024).is_err());
        assert_eq!(device.stream.clone_dtoh(&y).unwrap(), [1.0; 128]);
    });
}

#[test]
fn device_memory_has_a_bound_that_comes_back() {
    good().with("MUSTER_DOUBLE_MEMORY", "1048576").everywhere(&Modes::usual(), || {
        let device = Device::open(0);
        for _ in 0..3 {
            let large = device.stream.alloc_zeros::<u8>(700_000).unwrap();
            let error = device.stream.alloc_zeros::<u8>(700_000).unwrap_err();
            assert_eq!(error.0, CUresult::CUDA_ERROR_OUT_OF_MEMORY);
            assert_eq!(device.context.total_mem().unwrap(), 1 << 20);
            drop(large);
        }
    });
}

#[test]
fn a_wait_inside_a_capture_ends_it() {
    good().everywhere(&Modes::usual(), || {
        let context = CudaContext::new(0).unwrap();
        // SAFETY: one stream.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().unwrap();
        stream.begin_capture(CAPTURE).unwrap();
        assert_eq!(stream.synchronize().unwrap_err().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        let ended = stream.end_capture(CUgraphInstantiate_flags(0)).map(|_| ());
        assert_eq!(ended.unwrap_err().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    });
}

#[test]
fn a_fork_of_a_capture_has_to_join() {
    good().everywhere(&Modes::usual(), || {
        let device = Device::open(0);
        // SAFETY: the streams are ordered by hand.
        unsafe { device.context.disable_event_tracking() };
        let (stream, side) = (device.context.new_stream().unwrap(), device.context.new_stream().unwrap());
        let mut x = device.zeros();
        device.context.synchronize().unwrap();
        stream.begin_capture(CAPTURE).unwrap();
        side.join(&stream).unwrap();
        side.memset_zeros(&mut x).unwrap();
        let ended = stream.end_capture(CUgraphInstantiate_flags(0)).map(|_| ());
        assert_eq!(ended.unwrap_err().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    });
}

#[test]
fn a_capture_does_not_wait_for_what_is_outside_of_it() {
    good().everywhere(&Modes::usual(), || {
        let device = Device::open(0);
        let (stream, side) = (device.context.new_stream().unwrap(), device.context.new_stream().unwrap());
        let outside = side.record_event(None).unwrap();
        stream.begin_capture(CAPTURE).unwrap();
        assert_eq!(stream.wait(&outside).unwrap_err().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        assert!(stream.end_capture(CUgraphInstantiate_flags(0)).is_err());
    });
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    caught(&good(), EAGER, "kernel absent_kernel is not in the host build", || {
        Device::open(0).kernel("absent_kernel");
    });
}

/// PTX as a compiler writes it, with these parameters of `scale_kernel`.
fn ptx(params: [&str; 4]) -> Ptx {
    let named = |(idx, kind): (usize, &str)| format!("    .param {kind} scale_kernel_param_{idx}");
    let list: Vec<String> = params.into_iter().enumerate().map(named).collect();
    Ptx::from_src(format!(
        ".version 9.0\n.target sm_80\n.visible .entry scale_kernel(\n{}\n)\n{{ ret; }}\n",
        list.join(",\n")
    ))
}

#[test]
fn an_image_with_the_kernel_s_own_signature_is_taken() {
    good().everywhere(&Modes::only(EAGER), || {
        let context = CudaContext::new(0).unwrap();
        let module = context.load_module(ptx([".u64", ".u64", ".f32", ".u32"])).unwrap();
        module.load_function("scale_kernel").unwrap();
    });
}

#[test]
fn an_image_with_another_signature_is_refused() {
    caught(&good(), EAGER, "parameter 2 has 8 bytes in the PTX and 4 in the host build", || {
        let context = CudaContext::new(0).unwrap();
        let module = context.load_module(ptx([".u64", ".u64", ".f64", ".u32"])).unwrap();
        module.load_function("scale_kernel").unwrap();
    });
}

#[test]
fn an_image_without_the_kernel_is_refused() {
    caught(&good(), EAGER, "kernel sum_kernel is in the host build but not in the PTX", || {
        let context = CudaContext::new(0).unwrap();
        let module = context.load_module(ptx([".u64", ".u64", ".f32", ".u32"])).unwrap();
        module.load_function("sum_kernel").unwrap();
    });
}

#[test]
fn what_is_no_image_is_refused() {
    caught(&good(), EAGER, "neither a fatbin nor a cubin nor PTX", || {
        CudaContext::new(0).unwrap().load_module(Ptx::from_src("no image at all")).unwrap();
    });
}
