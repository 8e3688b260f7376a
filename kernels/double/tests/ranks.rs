//! NCCL between ranks: what is right adds up, and ranks that disagree, die or never come are told apart.

#![allow(unsafe_code, reason = "a communicator without blocking is beyond the safe API")]
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod device;

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DevicePtrMut};
use cudarc::nccl::{Comm, Id, ReduceOp, group_end, group_start, result, sys};
use device::{EAGER, caught, good};
use muster_cuda_double::{Mode, Modes, Order, Rank, RankEnd, Streams, Suite, in_processes};

const ASYNC: Mode = Mode::plain(Order::Seed(3), Streams::Async);

fn four() -> Suite {
    good().with("MUSTER_DOUBLE_DEVICES", "4").with("MUSTER_DOUBLE_NCCL_TIMEOUT", "20")
}

fn fresh_id() -> String {
    Id::new().unwrap().internal().iter().map(|byte| format!("{:02x}", byte.cast_unsigned())).collect()
}

fn id_of(rank: &Rank) -> Id {
    let mut bytes = [0; 128];
    for (byte, hex) in bytes.iter_mut().zip(rank.shared.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap().cast_signed();
    }
    Id::uninit(bytes)
}

/// A rank on its own device.
fn join(rank: &Rank) -> (Arc<CudaStream>, Comm) {
    let stream = CudaContext::new(rank.rank).unwrap().default_stream();
    let comm = Comm::from_rank(stream.clone(), rank.rank, rank.world_size, id_of(rank)).unwrap();
    (stream, comm)
}

fn all_passed(ranks: Option<Vec<RankEnd>>) {
    for (rank, end) in ranks.into_iter().flatten().enumerate() {
        assert!(end.passed, "rank {rank}\n{}", end.output);
    }
}

#[test]
fn processes_reduce_gather_scatter_and_broadcast() {
    four().everywhere(&Modes::usual().and(ASYNC), || {
        let body = |rank: Rank| {
            let (stream, comm) = join(&rank);
            let n = 100_003;
            let mine = rank.rank as f32 + 1.0;
            let x = stream.clone_htod(&vec![mine; n]).unwrap();
            let mut sum = stream.alloc_zeros::<f32>(n).unwrap();
            comm.all_reduce(&x, &mut sum, &ReduceOp::Sum).unwrap();
            assert_eq!(stream.clone_dtoh(&sum).unwrap(), vec![10.0; n]);
            let mut all = stream.alloc_zeros::<f32>(4 * n).unwrap();
            comm.all_gather(&x, &mut all).unwrap();
            let gathered = stream.clone_dtoh(&all).unwrap();
            assert!(
                gathered.chunks(n).zip([1.0, 2.0, 3.0, 4.0]).all(|(piece, value)| piece == vec![value; n])
            );
            let mut piece = stream.alloc_zeros::<f32>(n).unwrap();
            comm.reduce_scatter(&all, &mut piece, &ReduceOp::Max).unwrap();
            assert_eq!(stream.clone_dtoh(&piece).unwrap(), vec![mine; n]);
            let mut told = stream.alloc_zeros::<f32>(n).unwrap();
            comm.broadcast(Some(&x), &mut told, 2).unwrap();
            assert_eq!(stream.clone_dtoh(&told).unwrap(), vec![3.0; n]);
        };
        all_passed(in_processes(4, fresh_id, body));
    });
}

#[test]
fn processes_send_uneven_pieces_to_each_other() {
    four().everywhere(&Modes::usual(), || {
        let body = |rank: Rank| {
            let (stream, comm) = join(&rank);
            // Rank a sends 1 + 50_000 * a * b values to rank b.
            let size = |from: usize, to: usize| 1 + 50_000 * from * to;
            let sent: Vec<_> = (0..4)
                .map(|to| stream.clone_htod(&vec![rank.rank as u32; size(rank.rank, to)]).unwrap())
                .collect();
            let mut received: Vec<_> =
                (0..4).map(|from| stream.alloc_zeros::<u32>(size(from, rank.rank)).unwrap()).collect();
            group_start().unwrap();
            for (peer, (sent, received)) in (0..).zip(sent.iter().zip(&mut received)) {
                comm.send(sent, peer).unwrap();
                comm.recv(received, peer).unwrap();
            }
            group_end().unwrap();
            for (from, received) in received.iter().enumerate() {
                let expected = vec![from as u32; size(from, rank.rank)];
                assert_eq!(stream.clone_dtoh(received).unwrap(), expected);
            }
        };
        all_passed(in_processes(4, fresh_id, body));
    });
}

#[test]
fn one_thread_drives_all_devices_in_a_group() {
    four().everywhere(&Modes::usual(), || {
        let streams: Vec<_> = (0..4).map(|idx| CudaContext::new(idx).unwrap().default_stream()).collect();
        let comms = Comm::from_devices(streams.clone()).unwrap();
        let mut values: Vec<_> =
            streams.iter().map(|stream| stream.clone_htod(&[2i32; 5]).unwrap()).collect();
        group_start().unwrap();
        for (comm, value) in comms.iter().zip(&mut values) {
            comm.all_reduce_in_place(value, &ReduceOp::Prod).unwrap();
        }
        group_end().unwrap();
        for (stream, value) in streams.iter().zip(&values) {
            assert_eq!(stream.clone_dtoh(value).unwrap(), [16; 5]);
        }
    });
}

#[test]
fn ranks_that_disagree_are_named() {
    caught(
        &four(),
        EAGER,
        "ranks disagree: rank 0 AllReduce #1 (100 x float32, op 0), rank 1 AllReduce #1 (101 x float32",
        || {
            let body = |rank: Rank| {
                let (stream, comm) = join(&rank);
                let mut x = stream.alloc_zeros::<f32>(100 + rank.rank).unwrap();
                let reduced = comm.all_reduce_in_place(&mut x, &ReduceOp::Sum).map(|_| ());
                assert!(reduced.is_ok() && stream.synchronize().is_ok());
            };
            all_passed(in_processes(2, fresh_id, body));
        },
    );
}

#[test]
fn a_sender_and_a_receiver_that_disagree_are_named() {
    caught(&four(), EAGER, "ranks disagree: rank 0 Send", || {
        let body = |rank: Rank| {
            let (stream, comm) = join(&rank);
            let mut x = stream.alloc_zeros::<f32>(10 + rank.rank).unwrap();
            if rank.rank == 0 {
                comm.send(&x, 1).unwrap();
            } else {
                comm.recv(&mut x, 0).unwrap();
            }
            stream.synchronize().unwrap();
        };
        all_passed(in_processes(2, fresh_id, body));
    });
}

#[test]
fn a_rank_that_dies_is_an_error_of_the_others() {
    four().everywhere(&Modes::only(EAGER).and(ASYNC), || {
        let body = |rank: Rank| {
            let (stream, comm) = join(&rank);
            if rank.rank == 1 {
                std::process::abort();
            }
            let mut x = stream.alloc_zeros::<f32>(10).unwrap();
            let reduced = comm.all_reduce_in_place(&mut x, &ReduceOp::Sum).map(|_| ());
            let seen = stream.clone_dtoh(&x).unwrap();
            assert!(seen.iter().all(|value| value.is_nan()), "{reduced:?} left {seen:?}");
        };
        let Some(ranks) = in_processes(3, fresh_id, body) else { return };
        let passed: Vec<bool> = ranks.iter().map(|rank| rank.passed).collect();
        assert_eq!(passed, [true, false, true], "{ranks:?}");
        let told = &ranks[0].output;
        assert!(told.contains("rank 1") && told.contains("died"), "{told}");
    });
}

/// The state of a communicator that is alive.
fn state(comm: sys::ncclComm_t) -> sys::ncclResult_t {
    let mut state = sys::ncclResult_t::ncclSuccess;
    // SAFETY: callers abort the communicator after their last call of this.
    unsafe { sys::ncclCommGetAsyncError(comm, &mut state) };
    state
}

/// A rank on its own device, with a communicator that does not block.
fn join_without_blocking(rank: &Rank) -> (Arc<CudaStream>, sys::ncclComm_t) {
    let stream = CudaContext::new(rank.rank).unwrap().default_stream();
    let id = sys::ncclUniqueId { internal: *id_of(rank).internal() };
    let mut comm = std::ptr::null_mut();
    // SAFETY: comm and config outlive the call.
    let begun = unsafe {
        let (world, number) = (i32::try_from(rank.world_size).unwrap(), i32::try_from(rank.rank).unwrap());
        result::comm_init_rank_config(&mut comm, world, id, number, &mut without_blocking())
    };
    begun.unwrap();
    while state(comm) == sys::ncclResult_t::ncclInProgress {
        std::thread::yield_now();
    }
    (stream, comm)
}

#[test]
fn a_rank_that_is_killed_amid_a_collective_leaves_the_others_on_their_streams_until_they_abort() {
    // Each meets once to compare, and twice for each of the four pieces: the fourth is within the second piece.
    let suite = four().with("MUSTER_DOUBLE_NCCL_KILL", "1:4").with("MUSTER_DOUBLE_NCCL_ERROR", "stay");
    suite.everywhere(&Modes::only(ASYNC), || {
        let body = |rank: Rank| {
            let (stream, comm) = join_without_blocking(&rank);
            let mut x = stream.alloc_zeros::<f32>(1 << 18).unwrap();
            stream.synchronize().unwrap();
            {
                let (address, _used) = x.device_ptr_mut(&stream);
                let (kind, sum) = (sys::ncclDataType_t::ncclFloat32, sys::ncclRedOp_t::ncclSum);
                let cu_stream = stream.cu_stream().cast();
                // SAFETY: the address has that many floats until after the abort below.
                unsafe {
                    result::all_reduce(address as _, address as _, 1 << 18, kind, sum, comm, cu_stream)
                }
                .unwrap();
            }
            let done = stream.record_event(None).unwrap();
            while state(comm) == sys::ncclResult_t::ncclSuccess {
                std::thread::yield_now();
            }
            assert_eq!(state(comm), sys::ncclResult_t::ncclRemoteError);
            assert!(!done.is_complete(), "an error alone does not let the stream go on");
            // SAFETY: it is given up once, and not used after.
            unsafe { result::comm_abort(comm) }.unwrap();
            stream.synchronize().unwrap();
            let seen = stream.clone_dtoh(&x).unwrap();
            assert!(seen.iter().all(|value| value.is_nan()));
        };
        let Some(ranks) = in_processes(3, fresh_id, body) else { return };
        let passed: Vec<bool> = ranks.iter().map(|rank| rank.passed).collect();
        assert_eq!((passed, ranks[1].code), (vec![true, false, true], None), "{ranks:?}");
    });
}

#[test]
fn an_abort_that_hangs_ends_where_its_file_appears() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("abort-ends");
    let how = format!("until:{}", file.display());
    good().with("MUSTER_DOUBLE_NCCL_ABORT", &how).everywhere(&Modes::only(EAGER), || {
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("abort-ends");
        let _ = std::fs::remove_file(&file);
        let rank = Rank { rank: 0, world_size: 1, shared: fresh_id() };
        let (_stream, comm) = join_without_blocking(&rank);
        let comm = comm as usize;
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // SAFETY: it is given up once, and not used after.
                done.send(unsafe { result::comm_abort(comm as _) }.is_ok())
            });
            let early = ended.recv_timeout(std::time::Duration::from_millis(50));
            assert!(early.is_err(), "the abort came back");
            std::fs::write(&file, "").unwrap();
            assert_eq!(ended.recv(), Ok(true));
        });
        std::fs::remove_file(&file).unwrap();
    });
}

#[test]
fn a_rank_that_never_comes_is_not_waited_for_for_ever() {
    let suite = four().with("MUSTER_DOUBLE_NCCL_TIMEOUT", "1");
    caught(&suite, EAGER, "waited longer than 1 s for rank 1 in CommInitRank", || {
        let stream = CudaContext::new(0).unwrap().default_stream();
        Comm::from_rank(stream, 0, 2, Id::new().unwrap()).unwrap();
    });
}

#[test]
fn two_ranks_on_one_device_are_refused() {
    caught(&four(), EAGER, "duplicate GPU: ranks 0 and 1", || {
        let body = |rank: Rank| {
            let stream = CudaContext::new(0).unwrap().default_stream();
            Comm::from_rank(stream, rank.rank, rank.world_size, id_of(&rank)).unwrap();
        };
        all_passed(in_processes(2, fresh_id, body));
    });
}

#[test]
fn an_abort_ends_a_call_that_waits() {
    good().with("MUSTER_DOUBLE_DEVICES", "2").everywhere(&Modes::only(ASYNC), || {
        let body = |rank: Rank| {
            let (stream, comm) = join(&rank);
            let mut x = stream.alloc_zeros::<f32>(10).unwrap();
            if rank.rank == 0 {
                comm.all_reduce_in_place(&mut x, &ReduceOp::Sum).unwrap();
            }
            // Rank 1 never calls. Its drop aborts, and so does rank 0's, while its call waits.
            drop(comm);
            stream.synchronize().unwrap();
        };
        all_passed(in_processes(2, fresh_id, body));
    });
}

/// `NCCL_CONFIG_INITIALIZER` of 2.27 with `blocking = 0`.
fn without_blocking() -> sys::ncclConfig_t {
    // SAFETY: numbers and pointers, for all of which zero is a value.
    let mut config: sys::ncclConfig_t = unsafe { std::mem::zeroed() };
    config.size = size_of::<sys::ncclConfig_t>();
    config.magic = 0xcafe_beef;
    config.version = 22707;
    config.blocking = 0;
    config
}

#[test]
fn a_rank_that_joins_without_blocking_is_in_progress_until_all_have_come() {
    good().with("MUSTER_DOUBLE_DEVICES", "2").everywhere(&Modes::only(EAGER), || {
        let id = sys::ncclUniqueId { internal: *Id::new().unwrap().internal() };
        let start = |rank: usize| {
            let _stream = CudaContext::new(rank).unwrap();
            let mut comm = std::ptr::null_mut();
            // SAFETY: comm and config outlive the call.
            let status = unsafe {
                let rank = i32::try_from(rank).unwrap();
                result::comm_init_rank_config(&mut comm, 2, id, rank, &mut without_blocking())
            };
            assert!(matches!(status, Ok(result::NcclStatus::InProgress)));
            comm
        };
        let first = start(0);
        assert_eq!(state(first), sys::ncclResult_t::ncclInProgress, "rank 1 has not come yet");
        let second = start(1);
        while state(first) == sys::ncclResult_t::ncclInProgress
            || state(second) == sys::ncclResult_t::ncclInProgress
        {
            std::thread::yield_now();
        }
        assert_eq!(
            (state(first), state(second)),
            (sys::ncclResult_t::ncclSuccess, sys::ncclResult_t::ncclSuccess)
        );
        // SAFETY: each is given up once.
        unsafe {
            result::comm_abort(first).unwrap();
            result::comm_abort(second).unwrap();
        }
    });
}

#[test]
fn a_rank_that_joins_without_blocking_can_be_aborted_alone() {
    good().with("MUSTER_DOUBLE_DEVICES", "2").everywhere(&Modes::only(EAGER), || {
        let id = sys::ncclUniqueId { internal: *Id::new().unwrap().internal() };
        let _context = CudaContext::new(0).unwrap();
        let mut comm = std::ptr::null_mut();
        // SAFETY: comm and config outlive the calls; nobody else ever joins.
        unsafe {
            let _ = result::comm_init_rank_config(&mut comm, 2, id, 0, &mut without_blocking());
            result::comm_abort(comm).unwrap();
        }
    });
}
