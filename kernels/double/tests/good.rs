//! What is right stays right in every mode: kernels, streams, graphs, cuBLAS and cooperative launches by cudarc.

#![allow(unsafe_code, reason = "a launch cannot check that its arguments fit the kernel's signature")]

mod device;

use cudarc::cublas::{CudaBlas, Gemm, GemmConfig, sys::cublasOperation_t};
use cudarc::driver::{LaunchConfig, PushKernelArg, sys};
use device::{Device, config, good};
use muster_cuda_double::Modes;

#[test]
fn a_kernel_scales_what_it_is_given() {
    good().everywhere(&Modes::watched(), || {
        let device = Device::open(0);
        let kernel = device.kernel("scale_kernel");
        let x = device.stream.clone_htod(&[1.0f32, 2.0, 3.0]).unwrap();
        let mut y = device.stream.alloc_zeros::<f32>(3).unwrap();
        // SAFETY: x and y hold the 3 floats that n says.
        unsafe {
            device
                .stream
                .launch_builder(&kernel)
                .arg(&x)
                .arg(&mut y)
                .arg(&2.5f32)
                .arg(&3i32)
                .launch(config(1, 128, 0))
        }
        .unwrap();
        assert_eq!(device.stream.clone_dtoh(&y).unwrap(), [2.5, 5.0, 7.5]);
    });
}

#[test]
fn a_sum_over_warps_blocks_and_the_grid_is_the_sum() {
    good().everywhere(&Modes::every(), || {
        let device = Device::open(0);
        let kernel = device.kernel("sum_kernel");
        let n = 1000_i32;
        let x: Vec<f32> = (0..n).map(|idx| idx as f32).collect();
        let x = device.stream.clone_htod(&x).unwrap();
        let mut total = device.stream.alloc_zeros::<f32>(1).unwrap();
        // SAFETY: x holds n floats, total one.
        unsafe {
            device.stream.launch_builder(&kernel).arg(&x).arg(&mut total).arg(&n).launch(config(3, 128, 0))
        }
        .unwrap();
        assert_eq!(device.stream.clone_dtoh(&total).unwrap(), [499_500.0]);
    });
}

#[test]
fn dynamic_shared_memory_holds_vectors() {
    good().everywhere(&Modes::watched(), || {
        let device = Device::open(0);
        let kernel = device.kernel("reverse_kernel");
        let x: Vec<f32> = (0..256).map(|idx| idx as f32).collect();
        let from = device.stream.clone_htod(&x).unwrap();
        let mut to = device.stream.alloc_zeros::<f32>(256).unwrap();
        // SAFETY: 2 blocks of 32 threads move a float4 each: 256 floats.
        unsafe { device.stream.launch_builder(&kernel).arg(&from).arg(&mut to).launch(config(2, 32, 512)) }
            .unwrap();
        let reversed: Vec<f32> = x.chunks(128).flat_map(|piece| piece.iter().rev().copied()).collect();
        assert_eq!(device.stream.clone_dtoh(&to).unwrap(), reversed);
    });
}

#[test]
fn blocks_of_a_cooperative_launch_wait_for_each_other() {
    good().everywhere(&Modes::every(), || {
        let device = Device::open(0);
        let kernel = device.kernel("ring_kernel");
        let mut now = device.stream.clone_htod(&[1.0f32, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        let mut next = device.stream.alloc_zeros::<f32>(6).unwrap();
        let mut arrived = device.stream.alloc_zeros::<u32>(1).unwrap();
        let mut builder = device.stream.launch_builder(&kernel);
        builder.arg(&mut now).arg(&mut next).arg(&mut arrived).arg(&4i32);
        // SAFETY: 6 blocks, 6 floats each in now and next, one counter.
        unsafe { builder.launch_cooperative(config(6, 64, 0)) }.unwrap();
        // Four steps of (1 + shift): binomial coefficients.
        assert_eq!(device.stream.clone_dtoh(&now).unwrap(), [1.0, 4.0, 6.0, 4.0, 1.0, 0.0]);
    });
}

#[test]
fn two_streams_meet_at_an_event() {
    good().everywhere(&Modes::every(), || {
        let device = Device::open(0);
        let kernel = device.kernel("scale_kernel");
        let other = device.context.new_stream().unwrap();
        let x = device.stream.clone_htod(&[1.0f32; 64]).unwrap();
        let mut y = device.stream.alloc_zeros::<f32>(64).unwrap();
        let mut z = other.alloc_zeros::<f32>(64).unwrap();
        let cfg = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: 64 floats each; cudarc orders the streams by the events of its slices.
        unsafe {
            device
                .stream
                .launch_builder(&kernel)
                .arg(&x)
                .arg(&mut y)
                .arg(&2.0f32)
                .arg(&64i32)
                .launch(cfg)
                .unwrap();
            other.launch_builder(&kernel).arg(&y).arg(&mut z).arg(&2.0f32).arg(&64i32).launch(cfg).unwrap();
        }
        assert_eq!(other.clone_dtoh(&z).unwrap(), [4.0; 64]);
    });
}

#[test]
fn a_graph_replays_what_was_captured() {
    good().everywhere(&Modes::every(), || {
        let device = Device::open(0);
        let kernel = device.kernel("scale_kernel");
        // SAFETY: everything below is on one stream.
        unsafe { device.context.disable_event_tracking() };
        let stream = device.context.new_stream().unwrap();
        let mut x = stream.clone_htod(&[1.0f32; 8]).unwrap();
        let mut y = stream.alloc_zeros::<f32>(8).unwrap();
        stream.synchronize().unwrap();
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        // SAFETY: 8 floats each.
        unsafe {
            stream
                .launch_builder(&kernel)
                .arg(&x)
                .arg(&mut y)
                .arg(&3.0f32)
                .arg(&8i32)
                .launch(config(1, 32, 0))
                .unwrap();
        }
        stream.memcpy_dtod(&y, &mut x).unwrap();
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
        assert_eq!(stream.clone_dtoh(&x).unwrap(), [1.0; 8], "a capture runs nothing");
        for _ in 0..3 {
            graph.launch().unwrap();
        }
        assert_eq!(stream.clone_dtoh(&x).unwrap(), [27.0; 8]);
    });
}

#[test]
fn gemm_multiplies_column_major_matrices() {
    good().everywhere(&Modes::watched(), || {
        let device = Device::open(0);
        let blas = CudaBlas::new(device.stream.clone()).unwrap();
        // A is 2 x 3, B is 3 x 2, both by columns.
        let a = device.stream.clone_htod(&[1.0f32, 4.0, 2.0, 5.0, 3.0, 6.0]).unwrap();
        let b = device.stream.clone_htod(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        // SAFETY: beta is 0, so c is written before anything reads it.
        let mut c = unsafe { device.stream.alloc::<f32>(4) }.unwrap();
        let plain = cublasOperation_t::CUBLAS_OP_N;
        let cfg = GemmConfig {
            transa: plain,
            transb: plain,
            m: 2,
            n: 2,
            k: 3,
            alpha: 1.0f32,
            lda: 2,
            ldb: 3,
            beta: 0.0,
            ldc: 2,
        };
        // SAFETY: the buffers have the sizes that m, n, k and the leading dimensions say.
        unsafe { blas.gemm(cfg, &a, &b, &mut c) }.unwrap();
        assert_eq!(device.stream.clone_dtoh(&c).unwrap(), [14.0, 32.0, 32.0, 77.0]);
    });
}
