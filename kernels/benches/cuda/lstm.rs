//! An LSTM layer, forward and backward, both ways of running its time steps.

use muster_kernels::cuda::lstm::{self, Layout, Recurrence};
use muster_kernels::cuda::{Buffer, Device, Error};
use muster_kernels::gemm::Beta;
use muster_kernels::lstm::Layout as HostLayout;

use crate::table::{Table, Work};
use crate::{Sizes, seconds, values};

/// A layer with as many inputs as hidden units, and all that a step of it needs.
struct Layer {
    size: usize,
    layout: Layout,
    x: Buffer<f32>,
    w_ih: Buffer<f32>,
    w_hh: Buffer<f32>,
    bias: Buffer<f32>,
    gates: Buffer<f32>,
    c: Buffer<f32>,
    h: Buffer<f32>,
    d_h: Buffer<f32>,
    d_x: Buffer<f32>,
    d_w_ih: Buffer<f32>,
    d_w_hh: Buffer<f32>,
    d_b_ih: Buffer<f32>,
    d_b_hh: Buffer<f32>,
}

impl Layer {
    fn new(device: &Device, sizes: Sizes, size: usize) -> Result<Self, Error> {
        let lengths = vec![sizes.steps as u32; sizes.sequences];
        let host = HostLayout::from_lengths(&lengths)?;
        let tokens = host.tokens();
        let small = |len: usize| device.upload(&values(len).iter().map(|v| v * 0.1).collect::<Vec<f32>>());
        Ok(Self {
            size,
            layout: Layout::upload(device, host)?,
            x: small(tokens * size)?,
            w_ih: small(4 * size * size)?,
            w_hh: small(4 * size * size)?,
            bias: small(4 * size)?,
            gates: device.buffer(tokens * 4 * size)?,
            c: device.buffer(tokens * size)?,
            h: device.buffer(tokens * size)?,
            d_h: small(tokens * size)?,
            d_x: device.buffer(tokens * size)?,
            d_w_ih: device.buffer(4 * size * size)?,
            d_w_hh: device.buffer(4 * size * size)?,
            d_b_ih: device.buffer(4 * size)?,
            d_b_hh: device.buffer(4 * size)?,
        })
    }

    fn step(&mut self, device: &Device, recurrence: Recurrence) -> Result<(), Error> {
        let parameters = lstm::Parameters {
            input_size: self.size,
            hidden_size: self.size,
            w_ih: self.w_ih.view(),
            w_hh: self.w_hh.view(),
            b_ih: self.bias.view(),
            b_hh: self.bias.view(),
        };
        let forward = lstm::Forward {
            layout: &self.layout,
            parameters,
            x: self.x.view(),
            h0: None,
            c0: None,
            gates: self.gates.view_mut(),
            c: self.c.view_mut(),
            h: self.h.view_mut(),
            recurrence,
        };
        lstm::forward(device, forward)?;
        let d_parameters = lstm::Gradients {
            w_ih: self.d_w_ih.view_mut(),
            w_hh: self.d_w_hh.view_mut(),
            b_ih: self.d_b_ih.view_mut(),
            b_hh: self.d_b_hh.view_mut(),
            beta: Beta::Overwrite,
        };
        let backward = lstm::Backward {
            layout: &self.layout,
            parameters,
            x: self.x.view(),
            h0: None,
            c0: None,
            gates: self.gates.view_mut(),
            c: self.c.view(),
            h: self.h.view(),
            d_h: self.d_h.view(),
            d_x: Some(self.d_x.view_mut()),
            d_parameters,
            recurrence,
        };
        lstm::backward(device, backward)
    }
}

/// Measures forward and backward of one layer.
pub(crate) fn measure(device: &Device, sizes: Sizes, table: &mut Table) -> Result<(), Error> {
    for &size in sizes.hidden {
        let mut layer = Layer::new(device, sizes, size)?;
        let tokens = (sizes.sequences * sizes.steps) as f64;
        // Input and recurrent products, forward once and backward twice each.
        let flops = tokens * 3.0 * 2.0 * 2.0 * (4 * size * size) as f64;
        let shape = format!("{} x {}, hidden {size}", sizes.sequences, sizes.steps);
        for (name, recurrence) in [("steps", Recurrence::Steps), ("one launch", Recurrence::Persistent)] {
            let time = match seconds(device, sizes.rounds, || layer.step(device, recurrence)) {
                Err(Error::Arguments(reason)) => {
                    println!("LSTM, {name}, {shape}: not run: {reason}");
                    continue;
                }
                time => time?,
            };
            let op = format!("LSTM forward and backward, {name}");
            table.push(&op, shape.clone(), Work { flops, ..Work::default() }, time);
        }
    }
    Ok(())
}
