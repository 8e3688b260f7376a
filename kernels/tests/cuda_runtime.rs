//! The runtime around the kernels: probing, memory, graphs, page-locked copies, products and collectives.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use std::time::Duration;

use cuda::{assert_close, assert_same_bits, caching_device, device, everywhere, host, values};
use muster_kernels::cuda::embedding::{Combine, Ids, Table, gather};
use muster_kernels::cuda::exchange::{Owners, pack_ids, received_ids, unpack_rows};
use muster_kernels::cuda::nccl::{Communicator, Guard, UniqueId};
use muster_kernels::cuda::reduce::{add_assign, fill};
use muster_kernels::cuda::{Device, Error, Factor, Gpu, Graph, Pinned, Prefetch, Settings, gemm, probe};
use muster_kernels::gemm::Beta;
use muster_kernels::matrix::{MatrixMut, MatrixRef};
use muster_kernels::reference;

/// How long ranks may take to find each other, and to be done.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_device_that_is_not_there_is_refused_in_one_sentence() {
    everywhere(|| {
        let found = probe::devices().unwrap();
        let error = Device::open(Settings::of(found)).unwrap_err();
        let expected = format!("CUDA cannot be used: device {found} was asked for, and {found} are visible");
        assert_eq!(error.to_string(), expected);
    });
}

#[test]
fn a_gpu_tells_what_it_is_and_whom_it_reaches() {
    use muster_cuda_double::{Mode, Modes, Order, Streams};
    let machine = cuda::kernels().with("MUSTER_DOUBLE_DEVICES", "4").with("MUSTER_DOUBLE_PEERS", "2");
    let modes = Modes::only(Mode::plain(Order::Forward, Streams::Eager));
    machine.with("CUDA_VISIBLE_DEVICES", "1,2,3").everywhere(&modes, || {
        let found = probe::devices().unwrap();
        let gpus: Vec<Gpu> = (0..found).map(|ordinal| Gpu::describe(ordinal).unwrap()).collect();
        for (ordinal, gpu) in gpus.iter().enumerate() {
            assert_eq!((gpu.ordinal, gpu.visible), (ordinal, found));
            assert!(gpu.memory_bytes > 0 && gpu.compute_capability.0 > 0 && !gpu.name.is_empty(), "{gpu:?}");
            let known = |peer: &String| {
                gpus.iter().any(|other| other.ordinal != ordinal && other.pci_bus_id == *peer)
            };
            assert!(gpu.direct_peers.iter().all(known), "{gpu:?}");
        }
        if std::env::var_os("MUSTER_REQUIRE_CUDA").is_none() {
            // Of the machine's pairs (0, 1) and (2, 3), this process sees one whole.
            let peers: Vec<&[String]> = gpus.iter().map(|gpu| &gpu.direct_peers[..]).collect();
            let [second, third] = ["0000:04:00.0".to_owned(), "0000:03:00.0".to_owned()];
            assert_eq!(peers, [&[][..], &[second], &[third]]);
        }
        let refused = Gpu::describe(found).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("CUDA cannot be used: device {found} was asked for, and {found} are visible")
        );
    });
}

#[test]
fn memory_is_reused_and_its_bound_is_kept() {
    everywhere(|| {
        let device = Device::open(Settings { memory_bound: 1 << 20, ..Settings::of(0) }).unwrap();
        let first = device.upload(&values(1000, 1)).unwrap();
        assert_eq!(device.usage().in_use, 4096);
        let error = device.buffer::<f32>(1 << 19).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { in_use: 4096, bound: 1_048_576, .. }), "{error}");
        assert_same_bits("first", &host(&device, &first), &values(1000, 1));
        drop(first);
        assert_eq!((device.usage().in_use, device.usage().cached), (0, 4096));
        let again = device.zeros::<f32>(900).unwrap();
        assert_eq!((device.usage().in_use, device.usage().cached), (4096, 0));
        assert_same_bits("zeros", &host(&device, &again), &[0.0; 900]);
        drop(again);
        // What is cached makes room for what is asked for.
        drop(device.buffer::<f32>(1 << 18).unwrap());
        assert_eq!(device.usage().cached, 1 << 20);
    });
}

#[test]
fn products_take_transposes_and_add_to_what_is_there() {
    everywhere(|| {
        let device = device();
        for [m, k, n] in [[1, 1, 1], [3, 5, 2], [0, 4, 3], [3, 0, 2], [33, 20, 17]] {
            let (a, b, before) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
            let on_device = [device.upload(&a).unwrap(), device.upload(&b).unwrap()];
            for (beta, a_transposed, b_transposed) in [
                (Beta::Overwrite, false, false),
                (Beta::Accumulate, true, false),
                (Beta::Overwrite, false, true),
                (Beta::Accumulate, true, true),
            ] {
                let factor = |data, shape: [usize; 2], transposed| {
                    let [rows, cols] = if transposed { [shape[1], shape[0]] } else { shape };
                    let whole = MatrixRef::row_major(data, rows, cols).unwrap();
                    if transposed { whole.transposed() } else { whole }
                };
                let mut expected = before.clone();
                let c = &mut MatrixMut::row_major(&mut expected, m, n).unwrap();
                reference::gemm(factor(&a, [m, k], a_transposed), factor(&b, [k, n], b_transposed), c, beta);
                let mut c = device.upload(&before).unwrap();
                let [left, right] = &on_device;
                let left = match a_transposed {
                    true => Factor::new(left.view(), k, m).transposed(),
                    false => Factor::new(left.view(), m, k),
                };
                let right = match b_transposed {
                    true => Factor::new(right.view(), n, k).transposed(),
                    false => Factor::new(right.view(), k, n),
                };
                gemm(&device, left, right, &mut c.view_mut(), beta).unwrap();
                // Sums of up to 20 terms of size 1 in cuBLAS's order.
                assert_close("c", &host(&device, &c), &expected, 1e-6);
            }
        }
    });
}

#[test]
fn a_recorded_graph_runs_again_on_what_its_buffers_hold_then() {
    everywhere(|| {
        let device = caching_device();
        let owned = (device.upload(&values(300, 1)).unwrap(), device.upload(&values(300, 2)).unwrap());
        let record = |device: &Device, buffers: &mut (_, muster_kernels::cuda::Buffer<f32>)| {
            let (from, to): &mut (muster_kernels::cuda::Buffer<f32>, _) = buffers;
            let mut twice = device.buffer(300)?;
            fill(device, &mut twice.view_mut(), 0.0)?;
            add_assign(device, &mut twice.view_mut(), from.view())?;
            add_assign(device, &mut twice.view_mut(), from.view())?;
            add_assign(device, &mut to.view_mut(), twice.view())
        };
        let cold = Graph::record(&device, owned, record).map(drop).unwrap_err();
        assert!(matches!(cold, Error::ColdCapture { requested: 1536 }), "{cold}");
        drop(device.buffer::<f32>(300).unwrap());
        let owned = (device.upload(&values(300, 1)).unwrap(), device.upload(&values(300, 2)).unwrap());
        drop(device.buffer::<f32>(300).unwrap());
        let mut graph = Graph::record(&device, owned, record).unwrap();
        // The graph's temporary is not given to others.
        let other = device.zeros::<f32>(300).unwrap();
        graph.replay().unwrap();
        device.write(&mut graph.owned().0.view_mut(), &values(300, 3)).unwrap();
        graph.replay().unwrap();
        let expected: Vec<f32> = (0..300)
            .map(|i| {
                let [a, b, c] = [1, 2, 3].map(|purpose| values(300, purpose)[i]);
                (b + (a + a)) + (c + c)
            })
            .collect();
        assert_same_bits("sum", &host(&device, &graph.owned().1), &expected);
        assert_same_bits("other", &host(&device, &other), &[0.0; 300]);
    });
}

#[test]
fn page_locked_memory_is_rewritten_only_after_its_copy() {
    everywhere(|| {
        let device = device();
        let mut pinned = Pinned::<f32>::new(&device, 64).unwrap();
        let mut copies = Vec::new();
        for round in 0..3 {
            pinned.fill(|memory| memory.copy_from_slice(&values(64, round))).unwrap();
            let mut buffer = device.buffer(60).unwrap();
            pinned.upload(&mut buffer.view_mut()).unwrap();
            copies.push(buffer);
        }
        for (round, buffer) in (0..).zip(&copies) {
            assert_same_bits("copy", &host(&device, buffer), &values(64, round)[..60]);
        }
    });
}

#[test]
fn ids_sent_ahead_come_before_they_are_taken_and_stay_until_then() {
    everywhere(|| {
        let device = device();
        let table = device.upload(&values(50, 1)).unwrap();
        let table = Table { rows: table.view(), dim: 1 };
        // The third set needs more memory than those before it; some lists are empty.
        let lists = |round: u32| {
            let first = cuda::ids([40, 30, 90, 100, 7, 128][round as usize], 50, round);
            let second = cuda::ids(9 * (round as usize % 2), 50, 100 + round);
            [first, second]
        };
        let mut prefetch = Prefetch::new(&device).unwrap();
        let send = |prefetch: &mut Prefetch, round| {
            let [first, second] = lists(round);
            prefetch.send(&device, &[&first, &second]).unwrap()
        };
        let (mut sent, mut results) = (send(&mut prefetch, 0), Vec::new());
        for round in 0..6 {
            let received = prefetch.receive(&device, sent).unwrap();
            // The next set goes off before anything of this one is computed.
            sent = send(&mut prefetch, (round + 1) % 6);
            for ids in &received {
                let mut rows = device.buffer(ids.len()).unwrap();
                gather(&device, table, ids, &mut rows.view_mut(), 1, Combine::Replace).unwrap();
                results.push(rows);
            }
        }
        let expected = (0..6).flat_map(lists);
        for (ids, rows) in expected.zip(&results) {
            let expected: Vec<f32> = ids.iter().map(|&id| values(50, 1)[id as usize]).collect();
            assert_same_bits("rows", &host(&device, rows), &expected);
        }
        drop(sent);
    });
}

/// Runs a body on `world` ranks, one thread and one device each; on a machine with fewer devices, on as many ranks.
fn on_ranks(most: usize, body: impl Fn(&Device, &mut Communicator) + Sync) {
    let world = most.min(probe::devices().unwrap());
    let id = UniqueId::from_bytes(UniqueId::new().unwrap().to_bytes());
    std::thread::scope(|scope| {
        for rank in 0..world {
            let body = &body;
            scope.spawn(move || {
                let device = Device::open(Settings::of(rank)).unwrap();
                let guard = Guard::within(DEADLINE);
                let mut communicator = Communicator::connect(&device, rank, world, id, guard).unwrap();
                body(&device, &mut communicator);
                communicator.wait().unwrap();
                device.synchronize().unwrap();
            });
        }
    });
}

/// Only streams that run by themselves: a rank that waits for another's work would wait for ever on lazy ones.
fn on_self_running_streams<F: FnOnce()>(body: F) {
    use muster_cuda_double::{Mode, Modes, Order, Streams};
    let modes = Modes::only(Mode::plain(Order::Forward, Streams::Async));
    cuda::kernels().with("MUSTER_DOUBLE_DEVICES", "4").everywhere(&modes, body);
}

#[test]
fn sums_over_ranks_come_bucket_by_bucket() {
    on_self_running_streams(|| {
        on_ranks(4, |device, communicator| {
            let (rank, world) = (communicator.rank(), communicator.world_size());
            let mut gradient = device.buffer(100).unwrap();
            fill(device, &mut gradient.view_mut(), rank as f32 + 1.0).unwrap();
            communicator.all_reduce(&mut gradient, 40..100).unwrap();
            communicator.all_reduce(&mut gradient, 0..40).unwrap();
            communicator.join().unwrap();
            let expected = (world * (world + 1) / 2) as f32;
            assert_same_bits("sum", &host(device, &gradient), &[expected; 100]);
        });
    });
}

#[test]
fn a_bucket_is_summed_while_the_next_is_still_computed() {
    on_self_running_streams(|| {
        on_ranks(2, |device, communicator| {
            let (rank, world) = (communicator.rank() as f32, communicator.world_size());
            let len = 10_000;
            let (mut gradient, mut after) = (device.buffer(2 * len).unwrap(), device.zeros(2 * len).unwrap());
            // Each half is made in several launches, so that a sum that does not wait for them has something to miss.
            for half in [len..2 * len, 0..len] {
                fill(device, &mut gradient.view_mut().range(half.clone()), 0.0).unwrap();
                for round in 1..=5 {
                    let values = device.upload(&vec![rank + round as f32; len]).unwrap();
                    add_assign(device, &mut gradient.view_mut().range(half.clone()), values.view()).unwrap();
                }
                communicator.all_reduce(&mut gradient, half).unwrap();
            }
            communicator.join().unwrap();
            add_assign(device, &mut after.view_mut(), gradient.view()).unwrap();
            let expected = (0..world).map(|rank| 15.0 + 5.0 * rank as f32).sum::<f32>();
            assert_same_bits("sum", &host(device, &after), &vec![expected; 2 * len]);
        });
    });
}

#[test]
fn an_exchange_takes_uneven_and_empty_parts() {
    on_self_running_streams(|| {
        on_ranks(4, |device, communicator| {
            let (rank, world) = (communicator.rank(), communicator.world_size());
            // Rank r sends (r + 2 p) mod 4 elements to rank p: some send nothing.
            let count = |from: usize, to: usize| (from + 2 * to) % 4;
            let element = |from: usize, to: usize, i: usize| (100 * from + 10 * to + i) as f32;
            let part = |from, to| (0..count(from, to)).map(move |i| element(from, to, i));
            let send_counts: Vec<usize> = (0..world).map(|to| count(rank, to)).collect();
            let receive_counts: Vec<usize> = (0..world).map(|from| count(from, rank)).collect();
            let sent: Vec<f32> = (0..world).flat_map(|to| part(rank, to)).collect();
            let sent = device.upload(&sent).unwrap();
            let mut got = device.buffer(receive_counts.iter().sum()).unwrap();
            communicator.all_to_all(&sent, &send_counts, &mut got, &receive_counts).unwrap();
            communicator.join().unwrap();
            let expected: Vec<f32> = (0..world).flat_map(|from| part(from, rank)).collect();
            assert_same_bits("received", &host(device, &got), &expected);
        });
    });
}

#[test]
fn a_gather_has_every_rank_in_order() {
    on_self_running_streams(|| {
        on_ranks(3, |device, communicator| {
            let world = communicator.world_size();
            let mine = device.upload(&[communicator.rank() as u32; 3]).unwrap();
            let mut all = device.buffer(3 * world).unwrap();
            communicator.all_gather(&mine, &mut all).unwrap();
            communicator.join().unwrap();
            let expected: Vec<u32> = (0..world as u32).flat_map(|rank| [rank; 3]).collect();
            assert_eq!(host(device, &all), expected);
        });
    });
}

/// Rows of a table that is spread over the ranks, and its width.
const N_ROWS: usize = 31;
const DIM: usize = 4;

/// Brings rows from their owners: ids out, rows back, each in its place.
fn look_up(device: &Device, communicator: &mut Communicator, shard: &[f32], ids: &[u32]) -> Vec<f32> {
    let (rank, world) = (communicator.rank(), communicator.world_size());
    let owners: Vec<u32> = (0..world as u32).collect();
    let owners = Owners::upload(device, &owners, world).unwrap();
    let outgoing = pack_ids(device, &Ids::upload(device, ids).unwrap(), &owners).unwrap();
    // NCCL wants counts on the host: one small gather, the only wait.
    let mut counts = device.buffer(world * world).unwrap();
    communicator.all_gather(&outgoing.counts, &mut counts).unwrap();
    communicator.join().unwrap();
    let counts: Vec<usize> = host(device, &counts).iter().map(|&count| count as usize).collect();
    let sent = &counts[rank * world..(rank + 1) * world];
    let received: Vec<usize> = (0..world).map(|from| counts[from * world + rank]).collect();
    let mut asked = device.buffer(received.iter().sum()).unwrap();
    communicator.all_to_all(outgoing.rows.buffer(), sent, &mut asked, &received).unwrap();
    communicator.join().unwrap();
    let mut refused = device.zeros(1).unwrap();
    let n_rows = shard.len() / DIM;
    let asked = received_ids(device, asked, n_rows, &mut refused.view_mut()).unwrap();
    let shard = device.upload(shard).unwrap();
    let mut answers = device.buffer(asked.len() * DIM).unwrap();
    let table = Table { rows: shard.view(), dim: DIM };
    gather(device, table, &asked, &mut answers.view_mut(), DIM, Combine::Replace).unwrap();
    let wide = |counts: &[usize]| counts.iter().map(|count| count * DIM).collect::<Vec<usize>>();
    let mut rows = device.buffer(ids.len() * DIM).unwrap();
    communicator.all_to_all(&answers, &wide(&received), &mut rows, &wide(sent)).unwrap();
    communicator.join().unwrap();
    let mut out = device.buffer(ids.len() * DIM).unwrap();
    unpack_rows(device, rows.view(), &outgoing.places, DIM, &mut out.view_mut()).unwrap();
    assert_eq!(host(device, &refused), [0]);
    host(device, &out)
}

#[test]
fn a_collective_of_one_rank_stands_between_what_is_computed_before_and_after() {
    everywhere(|| {
        on_ranks(1, |device, communicator| {
            let (mut from, mut to) = (device.buffer(70).unwrap(), device.buffer(70).unwrap());
            fill(device, &mut from.view_mut(), 2.5).unwrap();
            communicator.all_gather(&from, &mut to).unwrap();
            communicator.join().unwrap();
            add_assign(device, &mut from.view_mut(), to.view()).unwrap();
            assert_same_bits("sum", &host(device, &from), &[5.0; 70]);
        });
    });
}

#[test]
fn rows_come_from_their_owners_to_where_they_were_asked_for() {
    on_self_running_streams(|| {
        on_ranks(4, |device, communicator| {
            let (rank, world) = (communicator.rank(), communicator.world_size());
            let table = values(N_ROWS * DIM, 1);
            let row = |id: usize| table[id * DIM..(id + 1) * DIM].iter().copied();
            let shard: Vec<f32> = (rank..N_ROWS).step_by(world).flat_map(row).collect();
            // The last rank asks for nothing.
            let n = if rank == world - 1 { 0 } else { 20 + rank };
            let ids = cuda::ids(n, N_ROWS as u32, rank as u32);
            let expected: Vec<f32> = ids.iter().flat_map(|&id| row(id as usize)).collect();
            assert_same_bits("rows", &look_up(device, communicator, &shard, &ids), &expected);
        });
    });
}

#[test]
fn an_id_of_a_peer_that_is_no_row_is_counted_and_stays_in_the_table() {
    everywhere(|| {
        let device = device();
        let mut refused = device.zeros(1).unwrap();
        let ids = device.upload(&[2_u32, 7, 0, u32::MAX]).unwrap();
        let ids = received_ids(&device, ids, 7, &mut refused.view_mut()).unwrap();
        assert_eq!(device.download(ids.view()).unwrap(), [2, 0, 0, 0]);
        assert_eq!(host(&device, &refused), [2]);
    });
}
