//! The jobs: none has a shape of the calibration's grid.

use muster_tests::folder::Folder;

/// Name, users, items and events of each dataset.
pub(crate) const DATASETS: [(&str, &str, &str, &str); 3] = [
    ("small", "2000", "1500", "50000"),
    ("shop", "3000", "9000", "90000"),
    ("wide", "4000", "40000", "160000"),
];

/// A job over one of the datasets.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) dataset: &'static str,
    pub(crate) spec: &'static str,
}

const fn job(name: &'static str, dataset: &'static str, spec: &'static str) -> Job {
    Job { name, dataset, spec }
}

/// Item and category, and where there is a third table, the kind of event.
pub(crate) static JOBS: [Job; 14] = [
    job("softmax-48", "small", "[batch]\nsequences = 96\n[model]\nembedding_dim = 48\nhidden_size = 48\n"),
    job(
        "softmax-96",
        "shop",
        "[batch]\nsequences = 64\nmax_len = 24\n[model]\nembedding_dim = 96\nhidden_size = 96\n[optimizer]\nkind = \"adagrad\"\nlr = 0.01\n",
    ),
    job(
        "softmax-untied",
        "small",
        "[batch]\nsequences = 128\n[model]\nembedding_dim = 24\nhidden_size = 80\n[model.head.softmax]\ntied = false\n\
         [table_optimizer]\nkind = \"lazy_adam\"\n",
    ),
    job(
        "softmax-features",
        "shop",
        "[batch]\nsequences = 48\n[model]\nembedding_dim = 56\nhidden_size = 56\n\
         features = [{ column = \"category\", dim = 20 }, { column = \"event\", dim = 6 }]\n[optimizer]\nkind = \"sgd\"\nlr = 0.1\n",
    ),
    job(
        "softmax-projection",
        "shop",
        "[batch]\nsequences = 80\nmicro_batches = 16\n[model]\nembedding_dim = 40\nhidden_size = 144\nprojection = 40\n[training]\nclip_norm = 1.0\n",
    ),
    job(
        "sampled-72",
        "shop",
        "[batch]\nsequences = 128\n[model]\nembedding_dim = 72\nhidden_size = 72\n[model.head.sampled_softmax]\nnegatives = 300\n\
         [table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.05\n",
    ),
    job(
        "sampled-192",
        "wide",
        "[batch]\nsequences = 64\n[model]\nembedding_dim = 192\nhidden_size = 192\n[model.head.sampled_softmax]\nnegatives = 600\n\
         [table_optimizer]\nkind = \"lazy_adam\"\n",
    ),
    job(
        "sampled-adam",
        "wide",
        "[batch]\nsequences = 160\n[model]\nembedding_dim = 28\nhidden_size = 112\nprojection = 28\n\
         [model.head.sampled_softmax]\nnegatives = 120\n",
    ),
    job(
        "sampled-untied",
        "wide",
        "[batch]\nsequences = 200\nmax_len = 16\n[model]\nembedding_dim = 20\nhidden_size = 88\n\
         features = [{ column = \"category\", dim = 12 }]\n[model.head.sampled_softmax]\ntied = false\nnegatives = 450\n\
         [table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.05\n",
    ),
    job(
        "mse-44",
        "shop",
        "[batch]\nsequences = 256\n[model]\nembedding_dim = 44\nhidden_size = 44\n[model.head.mse]\nlabel = \"rating\"\n\
         [table_optimizer]\nkind = \"lazy_adam\"\n",
    ),
    job(
        "bce-layers",
        "small",
        "[batch]\nsequences = 112\n[model]\nembedding_dim = 36\nhidden_size = 68\nlayers = 2\nprojection = 36\ndropout_layers = 0.1\n\
         dropout_embedding = 0.1\nfeatures = [{ column = \"category\", dim = 10 }]\n[model.head.bce]\nlabel = \"rating\"\n\
         [table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.05\n",
    ),
    job(
        "wide-lstm",
        "small",
        "[batch]\nsequences = 40\nmax_len = 30\n[model]\nembedding_dim = 60\nhidden_size = 320\nprojection = 60\n\
         [model.head.sampled_softmax]\nnegatives = 90\n[table_optimizer]\nkind = \"lazy_adam\"\n",
    ),
    job(
        "large-adam",
        "wide",
        "[batch]\nsequences = 32\nmax_len = 10\n[model]\nembedding_dim = 700\nhidden_size = 40\nprojection = 700\n\
         [model.head.sampled_softmax]\nnegatives = 60\n[table_optimizer]\nkind = \"lazy_adam\"\n[training]\nmax_steps = 30\n",
    ),
    job(
        "large-rows",
        "wide",
        "[batch]\nsequences = 48\nmax_len = 12\n[model]\nembedding_dim = 1400\nhidden_size = 24\nprojection = 1400\n\
         [model.head.mse]\nlabel = \"rating\"\n[table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.05\n[training]\nmax_steps = 30\n",
    ),
];

/// The jobs on which plans are forced.
pub(crate) const FORCED: [&str; 7] = [
    "softmax-48",
    "softmax-untied",
    "softmax-features",
    "sampled-72",
    "sampled-untied",
    "mse-44",
    "bce-layers",
];

/// All tables in one layout or another, and where there are several, the item's in another than the others'.
pub(crate) fn plans(job: &Job) -> Vec<(String, Vec<String>)> {
    let mut tables = vec!["item"];
    tables.extend(job.spec.contains("column = \"category\"").then_some("category"));
    tables.extend(job.spec.contains("column = \"event\"").then_some("event"));
    tables.extend(job.spec.contains("tied = false").then_some("output"));
    let all = |item: &str, others: &str| {
        let of = |table: &&str| {
            let layout = if *table == "item" { item } else { others };
            format!("tables.placement.{table}={layout}")
        };
        (format!("{item}/{others}"), tables.iter().map(of).collect())
    };
    let mut plans = vec![
        all("row_wise", "row_wise"),
        all("table_wise", "table_wise"),
        all("data_parallel", "data_parallel"),
    ];
    plans.extend((tables.len() > 1).then(|| all("row_wise", "data_parallel")));
    plans
}

/// Generates and prepares a dataset.
pub(crate) fn prepare(folder: &Folder, name: &str, [users, items, events]: [&str; 3]) {
    let log = format!("{name}.csv");
    folder.result(&["generate", "--users", users, "--items", items, "--events", events, "--out", &log]);
    let spec = format!(
        "name = \"{name}\"\ninput = \"{log}\"\nformat = \"csv\"\npartitions = 16\n[columns]\nuser = \"user\"\nitem = \"item\"\n\
         time = \"timestamp\"\ncategory = \"category\"\nrating = \"rating\"\ncategorical = [\"event\"]\n"
    );
    folder.write(&format!("{name}.toml"), spec);
    folder.result(&["prepare", &format!("{name}.toml"), "--out", name]);
}
