//! The dense part: flops, parameters, activations.

use muster_proto::capacity::DenseSpec;

/// Sizes of the dense part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Dense {
    /// Forward flops of a sample, layers alone.
    pub flops: f64,
    /// Forward flops of a sample in the loss.
    pub loss_flops: f64,
    /// Parameters.
    pub parameters: f64,
    /// Kept values of a sample.
    pub activations: f64,
    /// Bytes of a sample kept beside those.
    pub more_bytes: f64,
    /// Bytes of a sample that a step moves beside layers and lookups.
    pub moved_bytes: f64,
}

impl From<&DenseSpec> for Dense {
    fn from(spec: &DenseSpec) -> Self {
        let mut dense = Self {
            flops: spec.flops_per_sample,
            parameters: spec.parameters as f64,
            more_bytes: spec.activations_per_sample.bytes() as f64,
            moved_bytes: spec.moved_per_sample.bytes() as f64,
            ..Self::default()
        };
        for pair in spec.mlps.iter().flat_map(|widths| widths.windows(2)) {
            let (input, output) = (f64::from(pair[0]), f64::from(pair[1]));
            dense.flops += 2.0 * input * output;
            dense.parameters += (input + 1.0) * output;
            dense.activations += output;
        }
        for lstm in &spec.lstm {
            // Four gates, each of the input and of the state (Hochreiter and Schmidhuber 1997; PyTorch's two biases).
            let (input, hidden) = (f64::from(lstm.input), f64::from(lstm.hidden));
            dense.flops += 8.0 * hidden * (input + hidden) * lstm.events;
            dense.parameters += 4.0 * hidden * (input + hidden + 2.0);
            dense.activations += 6.0 * hidden * lstm.events;
        }
        if let Some(softmax) = &spec.softmax {
            let scores = softmax.positions * softmax.candidates as f64;
            dense.loss_flops = 2.0 * scores * f64::from(softmax.dim);
        }
        dense
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::capacity::LstmSpec;

    #[test]
    fn an_lstm_has_the_parameters_that_pytorch_gives_it() {
        let lstm = LstmSpec { input: 10, hidden: 20, events: 5.0 };
        let dense = Dense::from(&DenseSpec { lstm: vec![lstm], ..DenseSpec::default() });
        // torch.nn.LSTM(10, 20): 80x10 + 80x20 + 2x80.
        assert_eq!(dense.parameters, 2560.0);
        assert_eq!(dense.flops, 2.0 * 80.0 * 30.0 * 5.0);
    }
}
