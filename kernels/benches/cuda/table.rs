//! The table of results: measured times beside the floors that the card's own copy and product rates set.

use muster_kernels::cuda::{Device, Error, Factor, gemm};
use muster_kernels::gemm::Beta;

use crate::{Sizes, seconds, values};

/// What an op has to do at least.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// Bytes read and written, each once.
    pub(crate) bytes: f64,
    /// Floating-point operations.
    pub(crate) flops: f64,
}

struct Row {
    op: String,
    shape: String,
    work: Work,
    seconds: f64,
}

/// Results of one setting of a card.
pub(crate) struct Table {
    title: String,
    /// Bytes a second of a copy, read and written counted.
    copy: f64,
    /// Operations a second of a square product.
    product: f64,
    rows: Vec<Row>,
}

impl Table {
    /// Measures the card's copies and products.
    pub(crate) fn new(device: &Device, sizes: Sizes, setting: &str) -> Result<Self, Error> {
        let len = sizes.copy_mib << 18;
        let (from, mut to) = (device.zeros::<f32>(len)?, device.zeros::<f32>(len)?);
        let time = seconds(device, sizes.rounds, || device.copy(from.view(), &mut to.view_mut()))?;
        let copy = 8.0 * len as f64 / time;
        drop((from, to));
        let n = sizes.edge;
        let (a, b) = (device.upload(&values(n * n))?, device.upload(&values(n * n))?);
        let mut c = device.buffer(n * n)?;
        let time = seconds(device, sizes.rounds, || {
            let (a, b) = (Factor::new(a.view(), n, n), Factor::new(b.view(), n, n));
            gemm(device, a, b, &mut c.view_mut(), Beta::Overwrite)
        })?;
        let product = 2.0 * (n as f64).powi(3) / time;
        Ok(Self { title: format!("{}, {setting}", device.name()), copy, product, rows: Vec::new() })
    }

    pub(crate) fn push(&mut self, op: &str, shape: String, work: Work, seconds: f64) {
        self.rows.push(Row { op: op.to_owned(), shape, work, seconds });
    }

    pub(crate) fn print(&self, json: bool) {
        println!(
            "{}: copies {:.0} GB/s, products {:.1} TFLOP/s",
            self.title,
            self.copy / 1e9,
            self.product / 1e12
        );
        println!("| op | shape | MB | GFLOP | floor, µs | measured, µs | share of the floor |");
        println!("|---|---|---|---|---|---|---|");
        for Row { op, shape, work, seconds } in &self.rows {
            let floor = (work.bytes / self.copy).max(work.flops / self.product);
            println!(
                "| {op} | {shape} | {:.1} | {:.2} | {:.1} | {:.1} | {:.0} % |",
                work.bytes / 1e6,
                work.flops / 1e9,
                floor * 1e6,
                seconds * 1e6,
                100.0 * floor / seconds
            );
            if json {
                println!(
                    "{{\"device\":{:?},\"op\":{op:?},\"shape\":{shape:?},\"floor_us\":{},\"measured_us\":{}}}",
                    self.title,
                    floor * 1e6,
                    seconds * 1e6
                );
            }
        }
        println!();
    }
}
