//! What table lists give, and what malformed ones are told.

use super::{from_csv, from_torchrec};
use crate::capacity::Precision;

#[test]
fn a_csv_list_gives_features_that_share_a_table() {
    let list = from_csv("table,rows,dim,pooling,zipf_alpha,shared_group\nt0,10,8,1;10,1.2,s\n").unwrap();
    assert_eq!((list[0].pooling.clone(), list[0].zipf), (vec![1.0, 10.0], 1.2));
}

#[test]
fn columns_of_a_csv_list_are_found_by_their_names() {
    let list = from_csv("dim,pooling,table,rows\n8,3,t0,10\n").unwrap();
    assert_eq!((list[0].name.as_str(), list[0].rows, list[0].dim), ("t0", 10, 8));
    assert_eq!(list[0].pooling, [3.0]);
}

#[test]
fn a_malformed_csv_list_names_the_line_and_what_is_wrong() {
    for (text, told) in [
        ("t0,10,8,1,,\n", "line 1: unknown column `t0`"),
        ("table,rows,dim\nt0,10,8\n", "line 1: the header lacks column pooling"),
        ("table,rows,dim,pooling,zipf\nt0,10,8,1,1\n", "line 1: unknown column `zipf`"),
        ("table,rows,dim,pooling,rows\nt0,10,8,1,1\n", "line 1: the header has column rows twice"),
        ("table,rows,dim,pooling\n\nt0,ten,8,1\n", "line 3: rows `ten` is no whole number"),
        ("table,rows,dim,pooling\nt0,10,8,1,1.05,\n", "line 2: 6 cells, the header has 4"),
        ("table,rows,dim,pooling\nt0,10,8,\n", "line 2: pooling `` is no number"),
        ("\n", "line 1: the list is empty"),
        (
            "table,rows,dim,pooling,zipf_alpha\nt0,0,0,-1,nan\n",
            "table t0.rows: is 0, a table has at least 1 row; table t0.dim: is 0, give between 1 and 65536; table t0.pooling: ",
        ),
        ("table,rows,dim,pooling\nt,1,8,1\nt,2,8,1\n", "table t: is the name of two tables"),
    ] {
        let error = from_csv(text).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn a_torchrec_list_gives_a_lookup_for_each_feature() {
    let text =
        r#"[{"name":"t","num_embeddings":5,"embedding_dim":4,"feature_names":["a","b"],"pooling_factor":3}]"#;
    assert_eq!(from_torchrec(text).unwrap()[0].pooling, [3.0, 3.0]);
}

#[test]
fn a_torchrec_tables_type_and_pooling_are_read_as_python_prints_them() {
    let table = |fields: &str| {
        let text = format!(r#"[{{"num_embeddings":5,"embedding_dim":4{fields}}}]"#);
        from_torchrec(&text).unwrap().remove(0)
    };
    let plain = table("");
    assert_eq!((plain.precision, plain.pooled), (Precision::F32, true));
    let sequence = table(r#","data_type":"DataType.FP16","pooling":"PoolingType.NONE""#);
    assert_eq!((sequence.precision, sequence.pooled), (Precision::F16, false));
    assert_eq!(table(r#","data_type":"bf16","pooling":"mean""#).precision, Precision::Bf16);
}

#[test]
fn a_malformed_torchrec_list_names_the_table_and_the_field() {
    for (fields, told) in [
        (r#""embedding_dim":4"#, "table 0: num_embeddings is missing or no whole number above 0"),
        (r#""data_type":"INT8""#, "table 0: data_type INT8 is none of FP32, FP16 and BF16"),
        (r#""pooling":"MAX""#, "table 0: pooling MAX is none of SUM, MEAN and NONE"),
        (r#""pooling":7"#, "table 0: pooling 7 is no name"),
        (r#""pooling_factor":["3"]"#, "table 0: pooling_factor \"3\" is no number"),
        (
            r#""pooling_factor":[1,2],"feature_names":["a"]"#,
            "table 0: pooling_factor has 2 numbers for 1 features",
        ),
        (r#""feature_names":"a""#, "table 0: feature_names \"a\" is no list"),
    ] {
        let known = if fields.starts_with("\"embedding_dim") {
            ""
        } else {
            r#""num_embeddings":5,"embedding_dim":4,"#
        };
        let error = from_torchrec(&format!("[{{{known}{fields}}}]")).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
    assert!(from_torchrec("{}").unwrap_err().to_string().starts_with("is not a JSON list of tables"));
}
