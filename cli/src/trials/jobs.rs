//! The jobs of trials, and their datasets.

use muster_data::GenerateArgs;

/// Name and size of each dataset.
pub(super) const DATASETS: [(&str, GenerateArgs); 2] = [
    ("shop", GenerateArgs { users: 1_600, items: 2_500, events: 52_000, seed: 1 }),
    ("many", GenerateArgs { users: 1_600, items: 30_000, events: 60_000, seed: 2 }),
];

/// Steps of each job.
const STEPS: u32 = 40;

/// A job over one of the datasets.
pub(super) struct Job {
    pub(super) name: &'static str,
    pub(super) dataset: &'static str,
    batch: &'static str,
    model: &'static str,
    rest: &'static str,
}

impl Job {
    /// The job file.
    pub(super) fn toml(&self) -> String {
        format!(
            "name = \"{}\"\n[training]\nepochs = {STEPS}\nvalidate_every = {STEPS}\nmax_steps = {STEPS}\n[batch]\n{}\n[model]\n{}\n{}\n",
            self.name, self.batch, self.model, self.rest
        )
    }
}

const LAZY: &str = "[table_optimizer]\nkind = \"lazy_adam\"";
const BY_ROW: &str = "[table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.05";

/// As different as jobs are.
pub(super) const JOBS: [Job; 12] = [
    Job {
        name: "softmax",
        dataset: "shop",
        batch: "sequences = 64",
        model: "embedding_dim = 64\nhidden_size = 64",
        rest: "",
    },
    Job {
        name: "softmax-untied",
        dataset: "shop",
        batch: "sequences = 100",
        model: "embedding_dim = 32\nhidden_size = 112\nhead = { softmax = { tied = false } }",
        rest: LAZY,
    },
    Job {
        name: "softmax-features",
        dataset: "shop",
        batch: "sequences = 32",
        model: "embedding_dim = 40\nhidden_size = 40\nfeatures = [{ column = \"category\", dim = 16 }]",
        rest: "[optimizer]\nkind = \"adagrad\"\nlr = 0.01",
    },
    Job {
        name: "sampled",
        dataset: "many",
        batch: "sequences = 128",
        model: "embedding_dim = 64\nhidden_size = 64\nhead = { sampled_softmax = { negatives = 200 } }",
        rest: BY_ROW,
    },
    Job {
        name: "sampled-128",
        dataset: "many",
        batch: "sequences = 56",
        model: "embedding_dim = 128\nhidden_size = 128\nhead = { sampled_softmax = { negatives = 500 } }",
        rest: LAZY,
    },
    Job {
        name: "sampled-dense-adam",
        dataset: "many",
        batch: "sequences = 128",
        model: "embedding_dim = 40\nhidden_size = 96\nprojection = 40\nhead = { sampled_softmax = { negatives = 150 } }",
        rest: "",
    },
    Job {
        name: "sampled-untied",
        dataset: "many",
        batch: "sequences = 160\nmax_len = 20",
        model: "embedding_dim = 24\nhidden_size = 72\nfeatures = [{ column = \"category\", dim = 8 }]\n\
                head = { sampled_softmax = { tied = false, negatives = 300 } }",
        rest: BY_ROW,
    },
    Job {
        name: "ratings",
        dataset: "shop",
        batch: "sequences = 220",
        model: "embedding_dim = 52\nhidden_size = 52\nhead = { mse = { label = \"rating\" } }",
        rest: LAZY,
    },
    Job {
        name: "two-layers",
        dataset: "shop",
        batch: "sequences = 96",
        model: "embedding_dim = 32\nhidden_size = 80\nlayers = 2\nprojection = 32\ndropout_layers = 0.1\n\
                head = { bce = { label = \"rating\" } }",
        rest: BY_ROW,
    },
    Job {
        name: "wide-network",
        dataset: "shop",
        batch: "sequences = 32",
        model: "embedding_dim = 48\nhidden_size = 256\nprojection = 48\nhead = { sampled_softmax = { negatives = 64 } }",
        rest: LAZY,
    },
    Job {
        name: "wide-rows",
        dataset: "many",
        batch: "sequences = 24\nmax_len = 12",
        model: "embedding_dim = 512\nhidden_size = 48\nprojection = 512\nhead = { sampled_softmax = { negatives = 50 } }",
        rest: LAZY,
    },
    Job {
        name: "widest-rows",
        dataset: "many",
        batch: "sequences = 40",
        model: "embedding_dim = 900\nhidden_size = 32\nprojection = 900\nhead = { mse = { label = \"rating\" } }",
        rest: BY_ROW,
    },
];
