//! Conversions of tables, their shards and the ranks that own them.

use super::{Error, missing};
use crate::sharding::{ColumnBlock, Placement, ShardingPlan, TableDecl, TablePlan};
use crate::wire;

impl From<Placement> for wire::Placement {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::RowWise => Self::RowWise,
            Placement::TableWise => Self::TableWise,
            Placement::DataParallel => Self::DataParallel,
            Placement::ColumnWise => Self::ColumnWise,
            Placement::TableRowWise => Self::TableRowWise,
            Placement::Grid => Self::Grid,
        }
    }
}

fn placement_from(value: i32, message: &'static str) -> Result<Option<Placement>, Error> {
    match wire::Placement::try_from(value) {
        Ok(wire::Placement::Unspecified) => Ok(None),
        Ok(wire::Placement::RowWise) => Ok(Some(Placement::RowWise)),
        Ok(wire::Placement::TableWise) => Ok(Some(Placement::TableWise)),
        Ok(wire::Placement::DataParallel) => Ok(Some(Placement::DataParallel)),
        Ok(wire::Placement::ColumnWise) => Ok(Some(Placement::ColumnWise)),
        Ok(wire::Placement::TableRowWise) => Ok(Some(Placement::TableRowWise)),
        Ok(wire::Placement::Grid) => Ok(Some(Placement::Grid)),
        Err(_) => Err(Error::UnknownValue { message, field: "placement", value }),
    }
}

impl From<&TableDecl> for wire::TableDeclaration {
    fn from(table: &TableDecl) -> Self {
        Self {
            name: table.name.clone(),
            rows: table.rows,
            dim: table.dim,
            row_blocks: table.row_blocks,
            bias: table.bias,
            placement: table.placement.map_or(0, |placement| wire::Placement::from(placement).into()),
            columns: table.columns.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<wire::TableDeclaration> for TableDecl {
    type Error = Error;

    fn try_from(table: wire::TableDeclaration) -> Result<Self, Error> {
        let placement = placement_from(table.placement, "TableDeclaration")?;
        let wire::TableDeclaration { name, rows, dim, row_blocks, bias, columns, .. } = table;
        Ok(Self { name, rows, dim, row_blocks, bias, placement, columns: columns.map(Into::into) })
    }
}

impl From<&ColumnBlock> for wire::ColumnBlock {
    fn from(columns: &ColumnBlock) -> Self {
        let ColumnBlock { table, dim, first } = columns;
        Self { table: table.clone(), dim: *dim, first: *first }
    }
}

impl From<wire::ColumnBlock> for ColumnBlock {
    fn from(columns: wire::ColumnBlock) -> Self {
        let wire::ColumnBlock { table, dim, first } = columns;
        Self { table, dim, first }
    }
}

impl From<&ShardingPlan> for wire::ShardingPlan {
    fn from(plan: &ShardingPlan) -> Self {
        let table = |(name, plan): (&String, &TablePlan)| wire::TablePlan {
            table: name.clone(),
            placement: wire::Placement::from(plan.placement).into(),
            owners: plan.owners.clone(),
        };
        Self {
            world_size: plan.world_size,
            micro_batches: plan.micro_batches,
            tables: plan.tables.iter().map(table).collect(),
        }
    }
}

impl TryFrom<wire::ShardingPlan> for ShardingPlan {
    type Error = Error;

    fn try_from(plan: wire::ShardingPlan) -> Result<Self, Error> {
        let table = |table: wire::TablePlan| {
            let placement = placement_from(table.placement, "TablePlan")?;
            let placement = placement.ok_or(missing("TablePlan", "placement"))?;
            Ok((table.table, TablePlan { placement, owners: table.owners }))
        };
        let tables = plan.tables.into_iter().map(table).collect::<Result<_, Error>>()?;
        Ok(Self { world_size: plan.world_size, micro_batches: plan.micro_batches, tables })
    }
}
