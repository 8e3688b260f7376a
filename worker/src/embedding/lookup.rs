//! Looking rows up at their owners: ids out, rows back, each row asked for once.

use muster_collective::{Collective, CollectiveExt};

use super::exchange::{Error, Reader, Writer};
use super::set::TableSet;

/// The rows that this rank needs of one table.
#[derive(Debug, Clone, Default)]
pub struct LookupRequest {
    /// Index of the table among those of the model.
    pub table: usize,
    /// Needed rows, ascending and unique.
    pub ids: Vec<u32>,
}

impl LookupRequest {
    /// A request for all of `ids`, which may repeat and have any order.
    #[must_use]
    pub fn of(table: usize, ids: impl Iterator<Item = u32>) -> Self {
        Self { table, ids: distinct(ids) }
    }
}

/// The ids, ascending and each once.
pub(crate) fn distinct(ids: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut ids: Vec<u32> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Looked-up rows of one table.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The rows' ids, ascending.
    pub ids: Vec<u32>,
    /// Columns.
    pub dim: usize,
    /// `[ids, dim]`.
    pub rows: Vec<f32>,
    /// `[ids]`; zeros for a table without biases.
    pub bias: Vec<f32>,
}

impl Rows {
    /// Where row `id` is, which must have been asked for.
    #[must_use]
    pub fn slot(&self, id: u32) -> usize {
        // Every id was part of the request that made these rows.
        self.ids.binary_search(&id).unwrap_or_else(|_| panic!("row {id} was not looked up"))
    }

    /// Slots of many rows.
    pub fn slots(&self, ids: &[u32], slots: &mut Vec<u32>) {
        slots.clear();
        slots.extend(ids.iter().map(|id| self.slot(*id) as u32));
    }
}

/// Where the rows of this rank are read from.
pub(crate) trait RowSource {
    /// Reads rows that are on this rank: values `[ids, dim]` and biases `[ids]`, zeros for a table without biases.
    fn read(&mut self, table: usize, ids: &[u32]) -> Result<(Vec<f32>, Vec<f32>), Error>;
}

/// The shards in host memory.
struct HostRows<'a>(&'a TableSet);

impl RowSource for HostRows<'_> {
    fn read(&mut self, table: usize, ids: &[u32]) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let table = &self.0.tables[table];
        let mut rows = vec![0.0; ids.len() * table.dim()];
        let places = rows.chunks_exact_mut(table.dim());
        let bias = ids.iter().zip(places).map(|(id, row)| table.read_row(*id, row)).collect();
        Ok((rows, bias))
    }
}

/// Looks up the rows of all requests, one request a table of the model, in one exchange. Collective: every rank calls it
/// with the same tables in the same order; a rank may need nothing.
///
/// # Errors
/// The collective's, or a peer's message that does not fit.
pub fn look_up(
    set: &TableSet,
    requests: Vec<LookupRequest>,
    collective: &mut dyn Collective,
) -> Result<Vec<Rows>, Error> {
    let tables: Vec<usize> = requests.iter().map(|request| request.table).collect();
    let of_parts = requests.into_iter().flat_map(|LookupRequest { table, ids }| {
        let parts = set.of_model()[table].parts.clone();
        std::iter::repeat_n(ids, parts.len()).zip(parts).map(|(ids, table)| LookupRequest { table, ids })
    });
    let mut found = look_up_from(&mut HostRows(set), set, of_parts.collect(), collective)?.into_iter();
    Ok(tables.into_iter().map(|table| side_by_side(set, table, &mut found)).collect())
}

/// The rows of a table of the model, from those of its parts.
fn side_by_side(set: &TableSet, table: usize, found: &mut impl Iterator<Item = Rows>) -> Rows {
    let whole = &set.of_model()[table];
    let mut parts: Vec<Rows> = found.by_ref().take(whole.parts.len()).collect();
    if !whole.is_cut() {
        return parts.swap_remove(0);
    }
    let mut rows = Vec::with_capacity(parts[0].ids.len() * whole.dim);
    for place in 0..parts[0].ids.len() {
        for part in &parts {
            rows.extend_from_slice(&part.rows[place * part.dim..(place + 1) * part.dim]);
        }
    }
    let Rows { ids, bias, .. } = parts.swap_remove(0);
    Rows { ids, dim: whole.dim, rows, bias }
}

/// Looks up rows of declared tables, with those of this rank read from `source`. Collective.
///
/// # Errors
/// As [`look_up`].
pub(crate) fn look_up_from(
    source: &mut dyn RowSource,
    set: &TableSet,
    requests: Vec<LookupRequest>,
    collective: &mut dyn Collective,
) -> Result<Vec<Rows>, Error> {
    let (rank, world) = (collective.rank(), collective.world_size());
    let mut asked = vec![Writer::default(); world];
    for request in &requests {
        let table = &set.tables[request.table];
        let mut by_owner = vec![Vec::new(); world];
        for id in &request.ids {
            let owner = table.owner(*id) as usize;
            if owner != rank && !table.replicated() {
                by_owner[owner].push(*id);
            }
        }
        for (writer, ids) in asked.iter_mut().zip(&by_owner) {
            writer.u32s(ids);
        }
    }
    let mut received = Vec::new();
    if world > 1 {
        let send: Vec<&[u8]> = asked.iter().map(Writer::bytes).collect();
        collective.all_to_all::<u8>(&send, &mut received)?;
        let answers = answer(source, set, &requests, &received)?;
        let send: Vec<&[u8]> = answers.iter().map(Writer::bytes).collect();
        collective.all_to_all::<u8>(&send, &mut received)?;
    }
    let mut readers: Vec<Reader<'_>> = received.iter().map(|bytes| Reader::new(bytes)).collect();
    requests.into_iter().map(|request| assemble(source, set, request, rank, &mut readers)).collect()
}

/// Reads the rows that each peer asked for.
fn answer(
    source: &mut dyn RowSource,
    set: &TableSet,
    requests: &[LookupRequest],
    asked: &[Vec<u8>],
) -> Result<Vec<Writer>, Error> {
    let mut answers = Vec::with_capacity(asked.len());
    for (peer, bytes) in asked.iter().enumerate() {
        let (mut reader, mut writer) = (Reader::new(bytes), Writer::default());
        for request in requests {
            let table = &set.tables[request.table];
            let ids = reader.u32s()?;
            for id in &ids {
                let here = table.shards.contains_key(&table.decl.block_of(u64::from(*id)));
                if !here || u64::from(*id) >= table.decl.rows {
                    return Err(Error::NotOwned { table: table.decl.name.clone(), row: *id, peer });
                }
            }
            let (rows, bias) = source.read(request.table, &ids)?;
            writer.f32s(&rows);
            if table.decl.bias {
                writer.f32s(&bias);
            }
        }
        answers.push(writer);
    }
    Ok(answers)
}

/// Puts the rows of one table together: own rows from the shards, others from the owners' answers.
fn assemble(
    source: &mut dyn RowSource,
    set: &TableSet,
    request: LookupRequest,
    rank: usize,
    readers: &mut [Reader<'_>],
) -> Result<Rows, Error> {
    let table = &set.tables[request.table];
    let dim = table.dim();
    let (ids, mut bias) = (request.ids, vec![0.0; 0]);
    bias.resize(ids.len(), 0.0);
    let mut rows = vec![0.0; ids.len() * dim];
    let mut answers = Vec::with_capacity(readers.len());
    for reader in readers {
        let answered = reader.f32s()?;
        let answered_bias = if table.decl.bias { reader.f32s()? } else { Vec::new() };
        answers.push((answered, answered_bias, 0_usize));
    }
    let is_here = |id: &u32| table.replicated() || table.owner(*id) as usize == rank;
    let here: Vec<u32> = ids.iter().copied().filter(is_here).collect();
    let (own_rows, own_bias) = source.read(request.table, &here)?;
    let mut own = own_rows.chunks_exact(dim).zip(own_bias);
    for (place, (id, row)) in ids.iter().zip(rows.chunks_exact_mut(dim)).enumerate() {
        let owner = table.owner(*id) as usize;
        if is_here(id) {
            let (from, from_bias) = own.next().ok_or(Error::Short { peer: rank })?;
            row.copy_from_slice(from);
            bias[place] = from_bias;
            continue;
        }
        let (answered, answered_bias, next) = &mut answers[owner];
        let from = answered.get(*next * dim..(*next + 1) * dim).ok_or(Error::Short { peer: owner })?;
        row.copy_from_slice(from);
        bias[place] = answered_bias.get(*next).copied().unwrap_or(0.0);
        *next += 1;
    }
    Ok(Rows { ids, dim, rows, bias })
}
