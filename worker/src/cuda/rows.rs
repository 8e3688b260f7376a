//! Looked-up rows: on one rank straight from the tables, on several through the owners.

use muster_collective::Collective;
use muster_kernels::cuda::embedding::{Combine, Ids, Table as KernelTable, gather};
use muster_kernels::cuda::{Buffer, Device, Error, View};

use super::Accelerator;
use super::ahead::slots_of;
use super::tables::DeviceTable;
use crate::embedding::{self, LookupRequest, RowSource, TableSet, look_up_from};
use crate::train;

/// The rows that a step needs of one table, in device memory.
#[derive(Debug)]
pub(super) struct DeviceRows {
    ids: Vec<u32>,
    dim: usize,
    /// `[ids, dim]`.
    rows: Buffer<f32>,
    /// `[ids]`.
    bias: Buffer<f32>,
}

impl DeviceRows {
    /// Where the rows of `ids` are, each of which was asked for.
    fn slots(&self, device: &Device, ids: &[u32]) -> Result<Ids, Error> {
        // Every id was part of the request that made these rows.
        Ids::upload(device, &slots_of(&self.ids, ids))
    }

    /// The rows, as a table that slots index.
    pub(super) fn table(&self) -> KernelTable<'_> {
        KernelTable { rows: self.rows.view(), dim: self.dim }
    }

    /// Rows and biases of `ids`, in their order.
    pub(super) fn of(&self, device: &Device, ids: &[u32]) -> Result<(Buffer<f32>, Buffer<f32>), Error> {
        let slots = self.slots(device, ids)?;
        let rows = gathered(device, self.rows.view(), self.dim, &slots)?;
        let bias = gathered(device, self.bias.view(), 1, &slots)?;
        Ok((rows, bias))
    }
}

/// Copies rows of `dim` values into a buffer of their own.
pub(super) fn gathered(
    device: &Device,
    rows: View<'_, f32>,
    dim: usize,
    ids: &Ids,
) -> Result<Buffer<f32>, Error> {
    let mut out = device.buffer(ids.len() * dim)?;
    gather(device, KernelTable { rows, dim }, ids, &mut out.view_mut(), dim, Combine::Replace)?;
    Ok(out)
}

/// Rows `[ids, dim]` and their biases `[ids]`.
type RowsAndBiases = (Buffer<f32>, Buffer<f32>);

/// The shards of this rank, as owners read them for others.
struct OnDevice<'a> {
    device: &'a Device,
    tables: &'a mut [DeviceTable],
    set: &'a TableSet,
}

impl OnDevice<'_> {
    /// Rows and biases of `ids`, wherever the table is; `places` are theirs in its arrays, where they are at hand.
    fn rows(&mut self, table: usize, ids: &[u32], places: Option<&Ids>) -> Result<RowsAndBiases, Error> {
        let (here, of_host) = (&mut self.tables[table], &self.set.tables[table]);
        if let (Some(places), None) = (places, &here.hosted) {
            return self.gather(table, places);
        }
        let places = here.places(&of_host.decl, ids);
        match here.hosted_rows(of_host) {
            Some((hosted, rows)) => hosted.rows(self.device, &places, &rows),
            None => self.gather(table, &Ids::upload(self.device, &places)?),
        }
    }

    /// Rows and biases at some places of a table's arrays.
    fn gather(&self, table: usize, places: &Ids) -> Result<RowsAndBiases, Error> {
        let here = &self.tables[table];
        let rows = gathered(self.device, here.weight.view(), here.dim, places)?;
        let bias = match here.bias.is_empty() {
            true => self.device.zeros(places.len())?,
            false => gathered(self.device, here.bias.view(), 1, places)?,
        };
        Ok((rows, bias))
    }
}

impl RowSource for OnDevice<'_> {
    fn read(&mut self, table: usize, ids: &[u32]) -> Result<(Vec<f32>, Vec<f32>), embedding::Error> {
        let (rows, bias) = self.rows(table, ids, None)?;
        Ok((self.device.download(rows.view())?, self.device.download(bias.view())?))
    }
}

impl Accelerator {
    /// Looks up the rows of all requests, one request a table; `places` on one rank are theirs. Collective.
    pub(super) fn look_up(
        &mut self,
        set: &TableSet,
        requests: Vec<LookupRequest>,
        places: &[Ids],
        collective: &mut dyn Collective,
    ) -> Result<Vec<DeviceRows>, train::Error> {
        let Self { device, tables, .. } = self;
        let device: &Device = device;
        let mut here = OnDevice { device, tables, set };
        if collective.world_size() == 1 {
            let on_device = requests.into_iter().zip(places).map(|(LookupRequest { table, ids }, places)| {
                let (rows, bias) = here.rows(table, &ids, Some(places))?;
                Ok(DeviceRows { dim: set.tables[table].dim(), ids, rows, bias })
            });
            return on_device.collect();
        }
        let upload = |rows: embedding::Rows| -> Result<DeviceRows, train::Error> {
            let (values, bias) = (device.upload(&rows.rows)?, device.upload(&rows.bias)?);
            Ok(DeviceRows { ids: rows.ids, dim: rows.dim, rows: values, bias })
        };
        look_up_from(&mut here, set, requests, collective)?.into_iter().map(upload).collect()
    }
}
