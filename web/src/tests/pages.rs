//! The pages of a real server: who gets them, and what their forms do.

use super::*;

fn form(path: &str, fields: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .body(Body::from(fields.to_owned()))
        .unwrap()
}

fn page(path: &str) -> Request<Body> {
    Request::get(path).header("accept", "text/html,*/*").body(Body::empty()).unwrap()
}

impl House {
    async fn read(&self, request: Request<Body>) -> (StatusCode, String, String) {
        let response = self.send(request, me()).await;
        let header = |name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (status, to) = (response.status(), header("location").unwrap_or_default());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, to, String::from_utf8_lossy(&body).into_owned())
    }

    /// The number of the one incident.
    async fn refused_settings(&self) -> u64 {
        self.happen("Line 12: `notifer` is not a setting").await;
        self.until(|state| !state.incidents.is_empty()).await;
        self.api.handle.state().incidents.keys().next().unwrap().0
    }

    async fn taken(&self) -> usize {
        let all = self.api.handle.events(Seq(0), 1_000).await.unwrap();
        all.iter().filter(|event| event.kind.name() == "incident.acknowledged").count()
    }
}

#[tokio::test]
async fn s12_ids_in_page_paths() {
    let house = House::new().await;
    for bad in ["..%2F..%2Fx-1", "a;rm-1", "app%00-1", "app", "app-01", "%D0%B0pp-1"] {
        for path in [format!("/s/{bad}"), format!("/sessions/{bad}")] {
            assert_eq!(house.read(page(&path)).await.0, StatusCode::BAD_REQUEST, "{path}");
        }
    }
    for bad in ["007", "-1", "+1", "1e3", "i-1", "%31%00", "99999999999999999999", "x"] {
        let (status, _, _) = house.read(page(&format!("/i/{bad}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
    for (path, says) in
        [("/s/app-33", "There is no session app-33"), ("/i/7", "There is no incident i-7")]
    {
        let (status, _, html) = house.read(page(path)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(html.contains(says) && html.contains("href=\"../\""), "{path}: {html}");
        // For a program it is a document.
        let (_, problem) = house.ask(get(path), me()).await;
        assert_eq!(problem["code"], "not-found", "{path}");
    }
}

#[tokio::test]
async fn s20_fifty_racing_posts_act_once() {
    let house = House::new().await;
    let number = house.refused_settings().await;
    let path = format!("/i/{number}/act");
    let post =
        |key: usize| house.read(form(&path, &format!("act=key-{key}&from=incident&button=ack")));
    let racing = futures_util::future::join_all((0..50).map(post)).await;
    let done: Vec<_> =
        racing.iter().filter(|(status, ..)| *status == StatusCode::SEE_OTHER).collect();
    assert_eq!(done.len(), 1, "of fifty browsers one is in time: {:?}", racing[0]);
    assert_eq!(done[0].1, format!("../{number}"));
    assert!(
        racing.iter().all(|(status, ..)| {
            matches!(*status, StatusCode::SEE_OTHER | StatusCode::CONFLICT)
        })
    );
    assert_eq!(house.taken().await, 1);
    // One browser that sends its form again and again has done it, and only once.
    let winner = racing.iter().position(|(status, ..)| *status == StatusCode::SEE_OTHER).unwrap();
    for _ in 0..3 {
        assert_eq!(post(winner).await.0, StatusCode::SEE_OTHER);
    }
    assert_eq!(house.taken().await, 1);
    let (status, _, html) = house.read(page(&format!("/i/{number}"))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("seen by"), "{html}");
}

#[tokio::test]
async fn a_draft_survives_being_answered_elsewhere() {
    let house = House::new().await;
    let number = house.refused_settings().await;
    let fields = "act=key-of-mine&from=attention&button=answer&text=Only+%3Cthe%3E+items";
    let (status, _, html) = house.read(form(&format!("/i/{number}/act"), fields)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(html.contains("Only &#60;the&#62; items</textarea>"), "{html}");
    assert!(html.contains("nothing was done"), "{html}");
    assert!(html.contains("href=\"../../ui/style-"), "it is read as a page: {html}");
}

#[tokio::test]
async fn s4_no_page_changes_anything_and_no_form_is_taken_in_another_type() {
    let house = House::new().await;
    let number = house.refused_settings().await;
    for path in ["/", "/?part=zones", &format!("/i/{number}"), &format!("/i/{number}?button=ack")] {
        assert_eq!(house.read(page(path)).await.0, StatusCode::OK, "{path}");
    }
    let path = format!("/i/{number}/act");
    assert_eq!(house.read(page(&path)).await.0, StatusCode::METHOD_NOT_ALLOWED);
    for (kind, refused) in [
        ("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let mut request = form(&path, "act=key-of-mine&from=incident&button=ack");
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(house.read(request).await.0, refused, "{kind}");
    }
    // What the server does by itself meanwhile is no act of anybody's.
    let all = house.api.handle.events(Seq(0), 1_000).await.unwrap();
    let acted = |event: &ao_core::event::Event| event.act.is_some();
    assert!(!all.iter().any(acted), "{all:?}");
    assert_eq!(house.taken().await, 0);
}

#[tokio::test]
async fn s23_an_agent_sees_no_page_and_presses_nothing() {
    let house = House::new().await;
    let number = house.refused_settings().await;
    let agent = Agent::of("app-1");
    for path in ["/", "/s/app-1", "/i/1"] {
        let response = house.send(page(path), agent.peer()).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let fields = "act=key-of-mine&from=incident&button=ack";
    for path in [format!("/i/{number}/act"), "/s/app-1/act".to_owned()] {
        let response = house.send(form(&path, fields), agent.peer()).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(house.taken().await, 0);
}
