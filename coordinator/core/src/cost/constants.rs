//! The free constants of the model: what no datasheet tells.
//!
//! They were set once, for all 27 measured points of 1 to 128 GPUs together, none for a single point; what each is and where it may
//! physically lie stands beside it. `muster capacity --validate` shows what they forecast. `Muster` takes those of a fused program: its
//! own steps have not been measured on these cards.

/// The constants. Rates are shares of the catalogue's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Share of the peak that dense layers reach; 0.3 to 0.8.
    pub dense_share: f64,
    /// Share of the memory's rate that gathers and scatters of rows reach; 0.2 to 0.9.
    pub row_share: f64,
    /// Share of a network card's rate that an all_to_all over nodes reaches; 0.3 to 0.95.
    pub network_share: f64,
    /// Time of a step of HugeCTR in which no modelled work is done: launches, loss, optimizer of the dense part; 0.2 to 2 ms.
    pub fused_step: f64,
    /// Time of TensorFlow's kernels of one feature, forward, backward and update, at 5 to 10 us a kernel; 0.1 to 0.6 ms.
    pub per_feature: f64,
    /// Time that Horovod needs a step to agree on tensors; its cycle is 1 ms; 1 to 5 ms.
    pub coordination: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Self {
            dense_share: 0.56,
            row_share: 0.45,
            network_share: 0.65,
            fused_step: 0.75e-3,
            per_feature: 0.38e-3,
            coordination: 1.5e-3,
        }
    }
}
