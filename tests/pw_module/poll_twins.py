"""stream_twins.py for positions that wake nobody (packaging/doc/position-extension.md)."""

from __future__ import annotations

# (program, file, what is changed, into what). Each text occurs exactly once.
# fmt: off
BACK_POLL_TWINS = {
    "polled_page_is_notified_of": (
        "test_stream_polled", "back/position.c",
        "    if (!wakes_nobody(b))\n        xpa_back_notify_position",
        "    xpa_back_notify_position",
    ),
    "polled_page_is_looked_at_before_the_event_is_put": (
        "test_stream_polled", "back/position.c",
        "int result = xpa_back_put_event(b, &event);",
        "bool quiet = wakes_nobody(b);\n    int result = xpa_back_put_event(b, &event);\n"
        "    if (result == 0 && quiet)\n        return 0;",
    ),
    "polled_page_needs_a_timer": (
        "test_stream_polled", "back/position.c",
        "period_frames > 0 && !wakes_nobody(b))", "period_frames > 0)",
    ),
    "anybody_may_poll": (
        "test_stream_polled", "back/position.c",
        "return b->position_ext && !xpa_back_has", "return !xpa_back_has",
    ),
    "late_events_may_be_polled": (
        "test_stream_polled", "back/position.c", " && !xpa_back_has_faults(b);", ";",
    ),
    "polling_is_offered_to_all": (
        "test_stream_polled", "back/position.c",
        ".flags = may_be_polled(b) ? XPA_MAY_POLL : 0,", ".flags = XPA_MAY_POLL,",
    ),
    "captured_position_wakes_nobody_before_its_frames_are_there": (
        "test_stream_polled", "back/position.c",
        "(b->direction == XPA_PLAYBACK || b->stream.fills)", "true",
    ),
    "captured_frames_are_said_to_be_there_too_soon": (
        "test_stream_polled", "back/data.c",
        "(uint32_t)s->filled_frames);", "(uint32_t)s->filled_frames + 1);",
    ),
    "filling_begins_where_it_ended_long_ago": (
        "test_stream_polled", "back/state.c",
        "s->running = s->paused = s->fills = false;", "s->running = s->paused = false;",
    ),
    "filling_begins_with_all_there_is": (
        "test_stream_polled", "back/data.c",
        "s->config.buffer_frames : s->config.buffer_frames / 4;",
        "s->config.buffer_frames : ~0ull;",
    ),
    "filling_begins_with_half_of_it": (
        "test_stream_polled", "back/data.c",
        "s->config.buffer_frames : s->config.buffer_frames / 4;",
        "s->config.buffer_frames : s->config.buffer_frames / 2;",
    ),
    "filling_begins_before_start": (
        "test_stream_polled", "back/data.c", "s->filled_frames : s->taken_frames;",
        "s->filled_frames : 0;",
    ),
    "filling_begins_with_nothing": (
        "test_stream_polled", "back/data.c", "s->filled_frames : s->taken_frames;",
        "s->filled_frames : s->written_frames;",
    ),
    "filling_is_never_more_than_a_quarter": (
        "test_stream_polled", "back/data.c",
        "s->fills ? s->config.buffer_frames : s->config",
        "s->fills ? s->config.buffer_frames / 4 : s->config",
    ),
    "filling_goes_round_the_buffer_and_on": (
        "test_stream_polled", "back/data.c",
        "    if (s->written_frames - begin > most)\n        begin = s->written_frames - most;\n",
        "",
    ),
    "filling_costs_nothing": (
        "test_stream_polled", "back/data.c", "bytes / XPA_WORK_BYTES_PER_NSEC, false, now_nsec);\n"
        "    while", "0 * bytes, false, now_nsec);\n    while",
    ),
    "filling_goes_on_while_it_rests": (
        "test_stream_polled", "back/data.c", " && !b->link.rests_until_nsec;", ";",
    ),
    "filling_goes_on_after_stop": (
        "test_stream_polled", "back/data.c", "fills && s->running &&", "fills &&",
    ),
    "who_polls_no_more_is_filled_for": (
        "test_stream_polled", "back/life.c",
        "xpa_back_fill(b, xpa_back_polled(b), now_nsec);", "xpa_back_fill(b, true, now_nsec);",
    ),
    "position_is_told_before_its_frames_are_there": (
        "test_stream_polled", "back/life.c",
        "    if (b->direction == XPA_CAPTURE)\n"
        "        xpa_back_fill(b, xpa_back_polled(b), now_nsec);\n", "",
    ),
    "volume_waits_for_a_timer": (
        "test_stream_polled", "back/life.c",
        "    if (result == 0) /* a timer may not come soon */\n"
        "        result = xpa_back_send_volume(b);\n", "",
    ),
}
FRONT_POLL_TWINS = {
    "backend_need_not_heed_it": (
        "test_front_poll", "front/poll.c", "return f->stream.may_poll && f", "return f",
    ),
    "any_flag_lets_it_poll": (
        "test_front_poll", "front/position.c", "ext.flags & XPA_MAY_POLL;", "ext.flags;",
    ),
    "backend_need_not_say_when_it_sent_them": (
        "test_front_poll", "front/poll.c", "f->stream.timed && xpa", "xpa",
    ),
    "device_need_not_be_known": (
        "test_front_poll", "front/poll.c", " && xpa_front_time_locked(f);", ";",
    ),
    "what_lies_there_is_left_there": (
        "test_front_poll", "front/poll.c", "return !polls && unread ?", "return unread && false ?",
    ),
    "doubt_is_soon_forgotten": (
        "test_front_poll", "front/poll.c", "    xpa_peer_clock_doubt(f->link.peer);\n", "",
    ),
    "who_may_not_poll_listens": (
        "test_front_poll", "front/poll.c",
        "    if (!may)\n        xpa_peer_clock_leave(f->link.peer, f);\n", "",
    ),
    "who_is_gone_listens": (
        "test_front_poll", "front/life.c", "    xpa_peer_clock_leave(f->link.peer, f);\n", "",
    ),
    "who_ends_polls_on": (
        "test_front_poll", "front/life.c",
        "    xpa_front_let_poll(f, false, xpa_now_nsec());\n", "",
    ),
    "what_another_stream_found_is_ours": (
        "test_front_poll", "front/poll.c",
        "        xpa_evt_ring_set_filled(&f->link.event_ring, (uint32_t)f->stream.written_frames);",
        "        (void)0;",
    ),
    "backend_puts_any_number_of_frames": (
        "test_front_poll", "front/data.c",
        "pending_frames > 0 || more > quarter)", "pending_frames > 0 || more > INT32_MAX)",
    ),
    "who_does_not_poll_finds_frames": (
        "test_front_poll", "front/poll.c", "result >= 0 && f->link.polls && f", "result >= 0 && f",
    ),
    "what_was_asked_for_is_there": (
        "test_front_poll", "front/data.c",
        "f->link.pending_frames > 0 || more > quarter)", "more > quarter)",
    ),
    "frames_are_read_while_they_are_put": (
        "test_front_poll", "front/data.c",
        "skip_unread(f, s->written_frames + quarter);", "skip_unread(f, s->written_frames);",
    ),
    "gap_shows_in_the_newest_event": (
        "test_front_poll", "front/position.c", "after_gap |= f->", "after_gap = f->",
    ),
    "gap_between_two_looks_is_overlooked": (
        "test_front_poll", "front/position.c", "(s->starved || (after_gap && !woken));",
        "s->starved;",
    ),
    "gap_that_an_event_tells_of_is_counted_again": (
        "test_front_poll", "front/position.c", "(after_gap && !woken)", "after_gap",
    ),
    "gap_that_was_seen_is_counted_again": (
        "test_front_poll", "front/position.c", "s->ran_out |= !was_starved && (", "s->ran_out |= (",
    ),
    "gap_is_counted_for_ever": (
        "test_pw_poll", "node/cycle.c", "    f->stream.ran_out = false;\n", "",
    ),
    "event_that_lay_there_is_late": (
        "test_front_poll", "front/position.c",
        "woken || !s->timed ? now_nsec : xpa_peer_clock_ours(f->link.peer, sent_nsec);",
        "now_nsec;",
    ),
    "way_of_what_wakes_nobody_is_timed": (
        "test_front_poll", "front/requests.c", " || f->link.polls)", ")",
    ),
    "impossible_index_is_overlooked": (
        "test_front_poll", "front/life.c",
        "check(f, xpa_front_look(f, now_nsec));", "(void)xpa_front_look(f, now_nsec);",
    ),
    "impossible_index_is_overlooked_by_who_stops": (
        "test_front_poll", "front/life.c",
        "check(f, xpa_front_choose(f, may, now_nsec));",
        "(void)xpa_front_choose(f, may, now_nsec);",
    ),
    "impossible_index_is_overlooked_by_who_listens": (
        "test_front_poll", "front/life.c",
        "check(f, xpa_front_listen(f, now_nsec));", "(void)xpa_front_listen(f, now_nsec);",
    ),
    "fresh_transfer_is_urged": (
        "test_stream_front", "front/commands.c",
        "    else if (now - sent > PATIENCE_NSEC)\n", "    else\n",
    ),
    "what_lay_in_the_page_has_just_arrived": (
        "test_front_time", "front/time.c", "        if (woken)\n    ", "    ",
    ),
    "clocks_are_compared_once_and_for_all": (
        "test_front_time", "time/peer_clock.c",
        "if (now_nsec < p->rests_until_nsec)\n        return false;",
        "if (p->rest_nsec > 0)\n        return false;",
    ),
    "every_stream_brings_marks": (
        "test_front_time", "time/peer_clock.c",
        "return p->ear == stream || p->rest_nsec == 0;", "return true;",
    ),
    "one_stream_brings_the_first_marks": (
        "test_front_time", "time/peer_clock.c",
        "return p->ear == stream || p->rest_nsec == 0;", "return p->ear == stream;",
    ),
    "clocks_are_known_after_a_mark": (
        "test_front_time", "time/peer_clock.c", "p->heard_marks < LEAST_MARKS || ", "",
    ),
    "clocks_are_compared_as_often_as_at_first": (
        "test_front_time", "time/peer_clock.c", "FIRST_REST_NSEC : 2 * p->rest_nsec;",
        "FIRST_REST_NSEC : p->rest_nsec;",
    ),
    "clocks_are_compared_ever_more_seldom": (
        "test_front_time", "time/peer_clock.c",
        "    if (p->rest_nsec > LONGEST_REST_NSEC)\n        p->rest_nsec = LONGEST_REST_NSEC;\n",
        "",
    ),
    "first_marks_are_as_few_as_later_ones": (
        "test_front_time", "time/peer_clock.c", "p->rest_nsec == 0 ? FIRST_LISTEN_NSEC : ", "",
    ),
    "marks_before_a_doubt_count": (
        "test_front_time", "time/peer_clock.c",
        "    p->rests_until_nsec = 0;\n    p->heard_marks = 0;\n", "    p->rests_until_nsec = 0;\n",
    ),
    "new_backend_is_known": (
        "test_front_time", "time/peer_clock.c", "    p->rests_until_nsec = p->rest_nsec = 0;\n", "",
    ),
}
NODE_POLL_TWINS = {
    "positions_wake_for_ever": (
        "test_pw_poll", "node/cycle.c",
        "xpa_front_let_poll(f, needs_no_event(n), now_nsec);", "(void)needs_no_event;",
    ),
    "stream_that_stands_polls": (
        "test_pw_poll", "node/cycle.c", "return n->state.running && !n->state.draining &&",
        "return !n->state.draining &&",
    ),
    "drain_is_not_an_event": (
        "test_pw_poll", "node/cycle.c", "return n->state.running && !n->state.draining &&",
        "return n->state.running &&",
    ),
    "volume_lies_where_captured_frames_are_put": (
        "test_pw_poll", "node/cycle.c",
        "!f->control.waiting && f->control.frames == 0;", "true;",
    ),
    "cycles_take_more_than_can_be_put": (
        "test_pw_poll", "node/cycle.c", "xpa_graph_now(n).step_frames <= most &&", "",
    ),
    "host_hands_over_more_than_can_be_put": (
        "test_pw_poll", "node/cycle.c", "f->stream.host_frames <= most &&", "",
    ),
    "delay_is_that_of_the_newest_event": (
        "test_pw_poll", "node/cycle.c",
        "    if (f->link.polls) /* the newest position is of a while ago */", "    if (false)",
    ),
    "follower_does_not_read_the_page": (
        "test_pw_poll", "node/cycle.c",
        "            xpa_front_poll(f, now_nsec);\n        if (!xpa_node_usable(n) || !n->io",
        "            (void)0;\n        if (!xpa_node_usable(n) || !n->io",
    ),
    "following_source_does_not_read_the_page": (
        "test_pw_poll", "node/cycle.c",
        "        xpa_front_poll(f, now_nsec);\n        xpa_follow_held(n);\n    }\n    bool there",
        "        xpa_follow_held(n);\n    }\n    bool there",
    ),
    "following_source_does_not_hear_how_long_the_host_holds": (
        "test_pw_poll", "node/cycle.c",
        "        xpa_front_poll(f, now_nsec);\n        xpa_follow_held(n);\n    }\n    bool there",
        "        xpa_front_poll(f, now_nsec);\n    }\n    bool there",
    ),
    "timer_that_is_set_anew_is_read": (
        "test_pw_poll", "node/cycle.c",
        "    if (n->state.armed_nsec == 0) /* set anew it has forgotten that it fired */\n    ", "",
    ),
    "timer_that_fired_is_never_read": (
        "test_pw_poll", "node/cycle.c",
        "    if (n->state.armed_nsec == 0) /* set anew it has forgotten that it fired */\n"
        "        xpa_timer_ack(source->fd);\n", "    (void)source;\n",
    ),
    "host_takes_no_more_than_a_period": (
        "test_pw_poll", "node/drive.c",
        "f->link.polls ? fmin(f->stream.host_frames_max, most) : 0;", "0 * most;",
    ),
    "host_takes_whatever_the_backend_says": (
        "test_pw_lies", "node/drive.c",
        "fmin(f->stream.host_frames_max, most) : 0;", "f->stream.host_frames_max + 0 * most : 0;",
    ),
    "cycle_waits_for_a_rounding_error": (
        "test_pw_poll", "node/drive.c",
        "return at > now_nsec + EARLY_NSEC ? at : 1;", "return at > now_nsec ? at : 1;",
    ),
    "page_is_not_read_in_the_cycle": (
        "test_pw_poll", "node/drive.c",
        "    xpa_front_poll(f, now_nsec);\n    double frame", "    double frame",
    ),
    "graph_runs_on_without_a_backend": (
        "test_pw_poll", "node/drive.c",
        "    if (frame < (double)f->stream.position_frames + predictable_frames(f)) {",
        "    if (true || frame < predictable_frames(f)) {",
    ),
    "nobody_asks_to_be_woken_again": (
        "test_pw_poll", "node/drive.c",
        "    xpa_front_hear(f, now_nsec);\n    return due", "    return due",
    ),
    "source_waits_for_frames_that_nobody_puts": (
        "test_pw_lies", "node/drive.c",
        "            xpa_front_hear(f, now_nsec);\n        return there;",
        "            (void)now_nsec;\n        return there;",
    ),
    "captured_frames_are_not_found": (
        "test_pw_poll", "front/poll.c", "        xpa_front_find(f);\n", "        (void)0;\n",
    ),
    "event_looks_that_wakes_nobody": (
        "test_pw_poll", "node/drive.c", "return !f->link.polls && looked", "return looked",
    ),
    "cycle_that_is_lost_is_not_looked_at": (
        "test_pw_poll", "node/drive.c",
        "        arm_next(n, frame + xpa_graph_now(n).step_frames, at, now_nsec);\n", "",
    ),
    "cycle_in_flight_has_a_timer_of_its_own": (
        "test_pw_poll", "node/drive.c",
        "bool next = !late && (looked_at_anyway(n) || next_nsec < look_nsec);",
        "bool next = false;",
    ),
    "cycle_that_may_be_lost_is_left_to_the_next": (
        "test_pw_poll", "node/drive.c",
        "bool next = !late && (looked_at_anyway(n) || next_nsec < look_nsec);",
        "bool next = !late;",
    ),
    "cycle_that_is_deferred_is_not_counted": (
        "test_pw_poll", "node/drive.c", "    n->state.front->stats.deferred += late;\n", "",
    ),
}
# (program, its sources, sanitizer, file, what is changed, into what): see test_c_core.py. That who
# stops to poll says so before he looks is for arm64/test_arm64.py.
RING_POLL_TWINS = {
    "polled_means_one": (
        "test_ring", ["xen/ring.c"], "", "xen/ring.c",
        "return load_acquire(word(r, POLLED_OCTET)) != 0;",
        "return load_acquire(word(r, POLLED_OCTET)) == 1;",
    ),
    "polled_lies_where_the_liveness_extension_has_its_octet": (
        "test_ring", ["xen/ring.c"], "", "xen/ring.c", "POLLED_OCTET = 4", "POLLED_OCTET = 0",
    ),
    "what_lies_there_is_not_told": (
        "test_ring", ["xen/ring.c"], "", "xen/ring.c",
        "return load_acquire(&event_page(r->page)->in_prod) != r->in_cons;", "return false;",
    ),
}
POLL_TWINS = {**BACK_POLL_TWINS, **FRONT_POLL_TWINS, **NODE_POLL_TWINS}
# fmt: on
