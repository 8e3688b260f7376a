//! Dropout, losses, optimizers, sums, norms and packing on the device against the CPU's.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use cuda::{assert_same_bits, device, everywhere, host, host_view, ids, values};
use muster_kernels::cuda::bf16::round;
use muster_kernels::cuda::dropout::{RowKeys, dropout};
use muster_kernels::cuda::embedding::Ids;
use muster_kernels::cuda::exchange::{Owners, pack_ids, unpack_rows};
use muster_kernels::cuda::loss::{Loss, binary_cross_entropy, mean_squared_error};
use muster_kernels::cuda::norm::{clip_factor, sum_of_squares};
use muster_kernels::cuda::reduce::{add_assign, add_row, column_sums, fill, scale};
use muster_kernels::cuda::{DenseRule, update_dense};
use muster_kernels::dropout::RowKey;
use muster_kernels::gemm::Beta;
use muster_kernels::isa::Isa;
use muster_kernels::optimizer::{Adagrad, Adam, AdamW, Sgd};
use muster_kernels::rng::Stream;
use muster_kernels::{bf16, loss as cpu_loss, reduce as cpu_reduce, reference};

#[test]
fn dropout_has_the_masks_of_the_cpu() {
    everywhere(|| {
        let device = device();
        let stream = Stream::new(7, 3).derive(5, 1);
        for width in [1, 3, 8, 33, 64, 127, 128, 200] {
            for rate in [0.0, 0.1, 0.5, 0.97] {
                let key = |i: u32| RowKey { sample: u64::from(i) << 33 | 5, position: i * 3 };
                let keys: Vec<RowKey> = (0..5).map(key).collect();
                let mut expected = values(5 * width, 1);
                let mut got = device.upload(&expected).unwrap();
                reference::dropout(stream, rate, &keys, &mut expected);
                let keys = RowKeys::upload(&device, &keys).unwrap();
                dropout(&device, stream, rate, &keys, &mut got.view_mut()).unwrap();
                assert_same_bits("values", &host(&device, &got), &expected);
            }
        }
    });
}

#[test]
fn losses_and_their_gradients_have_the_bits_of_the_cpu() {
    everywhere(|| {
        let device = device();
        for n in [0, 1, 33, 700] {
            let wide = |purpose| values(n, purpose).iter().map(|x| x * 20.0).collect::<Vec<f32>>();
            let (pred, target) = (wide(1), values(n, 2));
            for logistic in [false, true] {
                let mut d_pred = vec![0.0; n];
                let (scale, isa) = (0.25, Isa::detect());
                let args = cpu_loss::Loss { pred: &pred, target: &target, scale, d_pred: &mut d_pred };
                let expected = if logistic {
                    cpu_loss::binary_cross_entropy(args, isa).unwrap()
                } else {
                    cpu_loss::mean_squared_error(args, isa).unwrap()
                };
                let (on_device, targets) = (device.upload(&pred).unwrap(), device.upload(&target).unwrap());
                let (mut gradient, mut loss) =
                    (device.buffer(n).unwrap(), device.upload(&[1.0_f64]).unwrap());
                let args = Loss {
                    pred: on_device.view(),
                    target: targets.view(),
                    scale,
                    d_pred: gradient.view_mut(),
                    loss: loss.view_mut(),
                };
                if logistic {
                    binary_cross_entropy(&device, args).unwrap();
                } else {
                    mean_squared_error(&device, args).unwrap();
                }
                assert_same_bits("d_pred", &host(&device, &gradient), &d_pred);
                let got = host(&device, &loss)[0] - 1.0;
                assert!((got - expected).abs() <= 1e-12 * expected.max(1.0), "{got}, expected {expected}");
            }
        }
    });
}

#[test]
fn dense_optimizers_have_the_bits_of_the_cpu() {
    everywhere(|| {
        let device = device();
        let isa = Isa::detect();
        let sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.05, nesterov: false };
        let adam = Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
        let adamw = AdamW { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
        let adagrad = Adagrad { lr: 0.1, lr_decay: 0.01, eps: 1e-10, weight_decay: 0.05 };
        for n in [1, 3, 4, 1029] {
            let (start, grads, m) = (values(n, 1), values(n, 2), values(n, 3));
            let v: Vec<f32> = values(n, 4).iter().map(|x| x.abs()).collect();
            let factor = device.upload(&[0.5]).unwrap();
            let halved: Vec<f32> = grads.iter().map(|g| g * 0.5).collect();
            for rule in 0..6 {
                let (mut params, mut first, mut second) = (start.clone(), m.clone(), v.clone());
                let (p, a, b) = (&mut params, &mut first, &mut second);
                match rule {
                    0 => Sgd { momentum: 0.0, ..sgd }.update(p, &halved, [a], isa),
                    1 => sgd.update(p, &halved, [a], isa),
                    2 => Sgd { nesterov: true, ..sgd }.update(p, &halved, [a], isa),
                    3 => adam.update(2, p, &halved, [a, b], isa),
                    4 => adamw.update(2, p, &halved, [a, b], isa),
                    _ => adagrad.update(2, p, &halved, [b], isa),
                }
                .unwrap();
                let (mut got, grads) = (device.upload(&start).unwrap(), device.upload(&grads).unwrap());
                let (mut one, mut two) = (device.upload(&m).unwrap(), device.upload(&v).unwrap());
                let (a, b) = (one.view_mut(), two.view_mut());
                let rule = match rule {
                    0 => DenseRule::Sgd(Sgd { momentum: 0.0, ..sgd }, None),
                    1 => DenseRule::Sgd(sgd, Some(a)),
                    2 => DenseRule::Sgd(Sgd { nesterov: true, ..sgd }, Some(a)),
                    3 => DenseRule::Adam(adam, 2, [a, b]),
                    4 => DenseRule::AdamW(adamw, 2, [a, b]),
                    _ => DenseRule::Adagrad(adagrad, 2, b),
                };
                update_dense(&device, &mut got.view_mut(), grads.view(), Some(factor.view()), rule).unwrap();
                assert_same_bits("params", &host(&device, &got), &params);
                assert_same_bits("first state", &host(&device, &one), &first);
                assert_same_bits("second state", &host(&device, &two), &second);
            }
        }
    });
}

#[test]
fn sums_of_columns_have_the_bits_of_the_cpu() {
    everywhere(|| {
        let device = device();
        for (rows, cols) in [(0, 3), (1, 1), (7, 33), (256, 5), (600, 130)] {
            let matrix = values(rows * cols, 1);
            let before = values(cols, 2);
            let on_device = device.upload(&matrix).unwrap();
            for beta in [Beta::Overwrite, Beta::Accumulate] {
                let mut expected = before.clone();
                cpu_reduce::column_sums(Isa::detect(), &matrix, &mut expected, beta).unwrap();
                let mut sums = device.upload(&before).unwrap();
                column_sums(&device, on_device.view(), &mut sums.view_mut(), beta).unwrap();
                assert_same_bits("sums", &host(&device, &sums), &expected);
            }
        }
    });
}

#[test]
fn small_ops_do_what_they_say() {
    everywhere(|| {
        let device = device();
        let (a, b) = (values(515, 1), values(515, 2));
        let (mut x, y) = (device.upload(&a).unwrap(), device.upload(&b).unwrap());
        let factor = device.upload(&[0.75]).unwrap();
        add_assign(&device, &mut x.view_mut(), y.view()).unwrap();
        scale(&device, &mut x.view_mut(), factor.view()).unwrap();
        add_row(&device, &mut x.view_mut(), y.view().range(0..5)).unwrap();
        let expected: Vec<f32> = (0..515).map(|i| (a[i] + b[i]) * 0.75 + b[i % 5]).collect();
        assert_same_bits("values", &host(&device, &x), &expected);
        fill(&device, &mut x.view_mut().range(3..500), 2.5).unwrap();
        let got = host(&device, &x);
        assert!(
            got[3..500].iter().all(|&value| value == 2.5)
                && got[2] == expected[2]
                && got[500] == expected[500]
        );
    });
}

#[test]
fn a_norm_and_its_clipping_stay_on_the_device() {
    everywhere(|| {
        let device = device();
        for n in [1, 255, 8192, 20_000] {
            let values = values(n, 1);
            let expected = cpu_reduce::sum_of_squares(Isa::detect(), &values);
            let on_device = device.upload(&values).unwrap();
            let mut total = device.zeros(1).unwrap();
            sum_of_squares(&device, on_device.view(), &mut total.view_mut()).unwrap();
            let got = host(&device, &total)[0];
            assert!((got - expected).abs() <= 1e-12 * expected, "{got}, expected {expected}");
            let mut factor = device.buffer(1).unwrap();
            for limit in [0.5 * expected.sqrt(), 2.0 * expected.sqrt()] {
                clip_factor(&device, total.view(), limit, &mut factor.view_mut()).unwrap();
                let expected = (limit / (expected.sqrt() + 1e-6)).min(1.0) as f32;
                let got = host(&device, &factor)[0];
                assert!((got - expected).abs() <= 1e-6 * expected, "{got}, expected {expected}");
            }
        }
    });
}

#[test]
fn packed_ids_go_out_by_owner_and_their_rows_come_back_in_place() {
    everywhere(|| {
        let device = device();
        for (n, world, dim) in [(0, 1, 4), (1, 3, 3), (333, 4, 5), (2200, 3, 8)] {
            let ids = ids(n, 50, 4);
            let owner_of = |block: usize| (block * 5 + 1) % world;
            let blocks = 7;
            let of_block: Vec<u32> = (0..blocks).map(|block| owner_of(block) as u32).collect();
            let owners = Owners::upload(&device, &of_block, world).unwrap();
            let sent = pack_ids(&device, &Ids::upload(&device, &ids).unwrap(), &owners).unwrap();
            let mut places: Vec<usize> = (0..n).collect();
            places.sort_by_key(|&i| owner_of(ids[i] as usize % blocks));
            let expected: Vec<u32> = places.iter().map(|&i| ids[i] / blocks as u32).collect();
            assert_eq!(host_view(&device, sent.rows.view()), expected);
            let counts = host(&device, &sent.counts);
            for (rank, &count) in counts.iter().enumerate() {
                let there = ids.iter().filter(|&&id| owner_of(id as usize % blocks) == rank).count();
                assert_eq!(count as usize, there, "ids of rank {rank}");
            }
            let answers: Vec<f32> =
                places.iter().flat_map(|&i| (0..dim).map(move |j| (i * dim + j) as f32)).collect();
            let answers = device.upload(&answers).unwrap();
            let mut out = device.buffer(n * dim).unwrap();
            unpack_rows(&device, answers.view(), &sent.places, dim, &mut out.view_mut()).unwrap();
            let in_place: Vec<f32> = (0..n * dim).map(|i| i as f32).collect();
            assert_same_bits("rows", &host(&device, &out), &in_place);
        }
    });
}

#[test]
fn bfloat16_operands_are_rounded_as_on_the_cpu() {
    everywhere(|| {
        let device = device();
        for n in [1, 3, 7, 8, 9, 33, 2049] {
            let mut all = values(n + 1, 1);
            all.iter_mut().enumerate().for_each(|(i, x)| *x *= 10.0_f32.powi(i as i32 % 40 - 20));
            // Halfway between two neighbours, so that ties show.
            all[n / 2] = 1.0 + 2.0_f32.powi(-8);
            let uploaded = device.upload(&all).unwrap();
            // From the second element on, addresses do not allow vectors.
            for first in [0, 1] {
                let rounded = round(&device, uploaded.view().range(first..first + n)).unwrap();
                let got: Vec<f32> = host(&device, &rounded).into_iter().map(f32::from).collect();
                let expected: Vec<f32> = all[first..first + n].iter().map(|&x| bf16::round(x)).collect();
                assert_same_bits("rounded", &got, &expected);
            }
        }
    });
}
