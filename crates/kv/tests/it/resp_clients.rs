//! The `redis` crate against the RESP door.

use redis::{AsyncCommands as _, Commands as _};

use crate::doors::Doors;

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_crate_works_in_both_versions_of_the_protocol() {
    let doors = Doors::open().await;
    let address = doors.resp.local_addr();
    for suffix in ["", "?protocol=resp3"] {
        let client = redis::Client::open(format!("redis://{address}/{suffix}")).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let _: () = connection.set("k", "v").await.unwrap();
        let value: String = connection.get("k").await.unwrap();
        assert_eq!(value, "v");
        let none: Option<String> = connection.get("missing").await.unwrap();
        assert_eq!(none, None);
        let number: i64 = connection.incr("n", 5).await.unwrap();
        assert!(number % 5 == 0 && number > 0);
        let (a, b): (i64, Option<String>) = redis::pipe()
            .cmd("INCR")
            .arg("m")
            .cmd("GET")
            .arg("missing")
            .query_async(&mut connection)
            .await
            .unwrap();
        assert!(a > 0);
        assert_eq!(b, None);
        let _: () = connection.mset(&[("a", 1), ("b", 2)]).await.unwrap();
        let values: Vec<Option<i64>> = connection.mget(&["a", "b", "c"]).await.unwrap();
        assert_eq!(values, [Some(1), Some(2), None]);
        let _: () = connection.set_ex("e", "x", 100).await.unwrap();
        let left: i64 = connection.ttl("e").await.unwrap();
        assert!((1..=100).contains(&left), "{left}");
        let wrong: redis::RedisResult<i64> = connection.incr("k", 1).await;
        assert_eq!(wrong.unwrap_err().code(), Some("ERR"));
    }
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_count_right() {
    let doors = Doors::open().await;
    let address = doors.resp.local_addr();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let client = redis::Client::open(format!("redis://{address}/")).unwrap();
                let mut connection = client.get_connection().unwrap();
                for _ in 0..200 {
                    let _: i64 = connection.incr("count", 1).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(doors.connect().line("GET count"), "$4 1600");
    doors.close().await;
}
