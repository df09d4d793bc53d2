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


def test_the_last_minutes_are_kept_with_their_gaps(view, clock, web_site):
    start = clock.now
    for _ in range(11):
        view.receive(web_site.sample(clock.now))
        clock.advance(1)
    clock.advance(60)
    view.receive(web_site.sample(clock.now))
    points = view.recent(clock.now)
    assert [point.start - start for point in points] == [0, 5, 10, 15, 71]
    assert [point.hashrate_hs is None for point in points] == [False, False, False, True, False]
    assert points[0].low_hs < points[0].hashrate_hs < points[0].high_hs
    clock.advance(565)
    assert [point.start - start for point in view.recent(clock.now)] == [71]


def test_memory_of_the_last_minutes_is_bounded(view, clock, web_site):
    for _ in range(300):
        view.receive(web_site.empty(clock.now))
        clock.advance(5)
    assert len(view.recent(clock.now)) <= 121


def test_a_clock_set_back_does_not_stop_the_record(view, clock, web_site):
    view.receive(web_site.sample(clock.now))
    view.receive(web_site.sample(clock.now - 3_600))
    assert len(view.recent(clock.now - 3_600)) == 2
