//! The same events over gRPC, a batch a call and as a stream.

use muster_proto::wire;
use muster_proto::wire::collect_service_client::CollectServiceClient;
use muster_proto::wire::field_value::Value;
use muster_tests::collecting::ids;
use muster_tests::folder::Folder;

use crate::{MUSTER, start};

fn event(id: &str, item: i64) -> wire::Event {
    let field = |name: &str, value: Value| (name.to_owned(), wire::FieldValue { value: Some(value) });
    let fields = [
        field("id", Value::Text(id.to_owned())),
        field("user", Value::Text("u".to_owned())),
        field("item", Value::Integer(item)),
        field("time", Value::Number(1_700_000_000.0)),
    ];
    wire::Event { fields: fields.into_iter().collect() }
}

#[test]
fn batches_and_streams_are_taken_like_bodies() {
    let folder = Folder::new(MUSTER);
    let collecting = start(&folder, &["limits.max_batch=500"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("http://{}", collecting.address);
        let mut client = CollectServiceClient::connect(url).await.unwrap();
        let request = wire::CollectRequest { events: vec![event("a", 1), event("b", -1), event("a", 1)] };
        let answer = client.collect(request).await.unwrap().into_inner();
        assert_eq!((answer.accepted, answer.duplicates, answer.rejected), (1, 1, 1));
        let expected = wire::RejectedEvent { index: 1, field: "item".into(), reason: "-1 is below 0".into() };
        assert_eq!(answer.reasons, [expected]);

        let batches: Vec<wire::CollectRequest> = (0..200)
            .map(|batch| {
                let events = (0..10).map(|number| event(&format!("{batch}-{number}"), number - 1)).collect();
                wire::CollectRequest { events }
            })
            .collect();
        let answer = client.collect_stream(tokio_stream::iter(batches)).await.unwrap().into_inner();
        assert_eq!((answer.accepted, answer.duplicates, answer.rejected), (1800, 0, 200));
        assert_eq!((answer.reasons.len(), answer.reasons[199].index), (200, 1990));

        let large = wire::CollectRequest { events: (0..501).map(|n| event(&format!("l{n}"), 1)).collect() };
        let status = client.collect(large).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    });
    drop(runtime);
    assert_eq!(collecting.end().0, Some(0));
    assert_eq!(ids(folder.path()).len(), 1801);
}
