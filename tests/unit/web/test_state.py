from hashwerk.web.state import STALE_AFTER_S, MineView


def test_nothing_is_known_before_the_first_snapshot(view):
    assert view.latest() is None
    assert view.age_s() is None
    assert view.is_stale()
    assert view.not_serving_because() == "the server has not reported yet"


def test_a_snapshot_ages_and_a_new_one_makes_it_fresh(view, clock, web_site):
    view.receive(web_site.sample(clock.now))
    assert view.not_serving_because() is None
    clock.advance(STALE_AFTER_S)
    assert not view.is_stale()
    clock.advance(8.5)
    assert view.is_stale()
    assert view.not_serving_because() == "the server has not reported for 12 s"
    view.receive(web_site.sample(clock.now))
    assert view.age_s() == 0
    assert not view.is_stale()


def test_says_why_no_work_is_served(view, clock, web_site):
    snapshot = web_site.sample(clock.now, serving=False)
    view.receive(snapshot)
    assert view.not_serving_because() == "the first work is not ready yet"
    node = web_site.msgspec.structs.replace(snapshot.node, healthy=False, message="it refuses our password")
    view.receive(web_site.sample(clock.now, serving=False, node=node))
    assert view.not_serving_because() == "the node gives no work: it refuses our password"


def test_alerts_keep_the_time_they_were_first_seen(view: MineView, clock, web_site):
    start = clock.now
    view.receive(web_site.sample(start, warnings=["disk is nearly full"]))
    clock.advance(5)
    view.receive(web_site.sample(clock.now, warnings=["a peer is late", "disk is nearly full"]))
    assert view.alerts() == [(start, "disk is nearly full"), (start + 5, "a peer is late")]
    view.receive(web_site.sample(clock.now, warnings=["a peer is late"]))
    assert view.alerts() == [(start + 5, "a peer is late")]
