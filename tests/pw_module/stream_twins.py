"""Copies of the streams' sources with one rule left out: each must be noticed by a test."""

from __future__ import annotations

from pw_module.budget_twins import BUDGET_TWINS
from pw_module.node_twins import NODE_TWINS
from pw_module.pcm_twins import PCM_TWINS
from pw_module.poll_twins import POLL_TWINS
from pw_module.relay_twins import RELAY_TWINS

# (program, file, what is changed, into what). Each text occurs exactly once.
TWINS = {
    "back_leaves_what_stale_references_wrote": (
        "test_stream_kernel", "xen/ring.c",
        "    store_release(&event_page(page)->in_prod, index);\n", "",
    ),
    "virtual_device_makes_up_for_hours": (
        "test_pw_chance", "back/vdev.c", "    skip_what_is_too_late(v, now);\n", "",
    ),
    "virtual_device_keeps_its_phase_over_a_suspend": (
        "test_stream_pair", "back/vdev.c",
        "        xpa_clock_shift(&b->stream.clock);", "        (void)b;",
    ),
    "seconds_are_too_late": (
        "test_stream_pair", "back/vdev.c", "NSEC = 10000000000;", "NSEC = 1000000000;",
    ),
    "memory_is_touched_by_who_uses_it_first": (
        "test_stream_resources", "base/memory.c",
        "if (!memory || count == 0 || item_bytes == 0)", "",
    ),
    "events_exactly_a_period_apart": (
        "test_stream_kernel", "back/position.c",
        "b->stream.next_event_frames = (b->stream.reported_frames / period + 1) * period + 1;",
        "b->stream.next_event_frames = (b->stream.reported_frames / period + 1) * period;",
    ),
    "id_taken_by_an_event_that_was_not_queued": (
        "test_stream_kernel", "back/position.c",
        "b->stats.events_skipped++;", "b->stats.events_skipped++, b->link.event_id++;",
    ),
    "ids_since_the_connection_alone": (
        "test_stream_kernel", "back/position.c",
        "b->position_ext || since_open == b->link.event_id ? 1 : 2;", "1;",
    ),
    "ids_since_open_alone": (
        "test_stream_kernel", "back/position.c",
        "slots[0].id = b->link.event_id;", "slots[0].id = since_open;",
    ),
    "ids_do_not_begin_anew_at_open": (
        "test_stream_kernel", "back/life.c", "        .first_event_id = b->link.event_id,\n", "",
    ),
    "half_of_a_position_is_queued": (
        "test_stream_kernel", "xen/ring.c", "if (unread + i >= (", "if (unread >= (",
    ),
    "known_frontend_gets_every_position_twice": (
        "test_stream_back", "back/position.c", "b->position_ext || since_open", "since_open",
    ),
    "stop_does_not_round_up": (
        "test_stream_kernel", "back/state.c",
        "((uint64_t)ceil(position) + buffer - 1) / buffer * buffer", "(uint64_t)ceil(position)",
    ),
    "stop_restarts_at_0": (
        "test_stream_kernel", "back/state.c",
        "((uint64_t)ceil(position) + buffer - 1) / buffer * buffer", "0 * buffer",
    ),
    "starved_position_stops_at_the_last_frame": (
        "test_stream_kernel", "back/position.c",
        "guest = fmin(guest, starved_limit(b));", "guest = (double)b->stream.written_frames;",
    ),
    "backend_keeps_a_gap_to_itself": (
        "test_stream_back", "back/position.c",
        "s->ahead_known && fabs(ahead - s->ahead_frames) > 0.5", "false",
    ),
    "frontend_takes_a_gap_for_a_slower_clock": (
        "test_stream_front", "front/position.c",
        "if (s->starved || after_gap)", "if (s->starved)",
    ),
    "starved_position_runs_for_ever": (
        "test_stream_back", "back/position.c",
        "guest = fmin(guest, starved_limit(b));", "",
    ),
    "starved_by_silence_long_over": (
        "test_stream_back", "back/position.c",
        "xpa_timeline_in_gap(&s->timeline, s->host_frames);", "s->timeline.gap_count > 0;",
    ),
    "timer_looks_at_a_time_that_has_passed": (
        "test_stream_back", "back/position.c",
        "if (host > (double)s->host_frames)", "if (0)",
    ),
    "position_of_what_was_taken_instead_of_heard": (
        "test_stream_kernel", "back/position.c",
        "return heard < limit ? heard : limit;", "return limit;",
    ),
    "capture_position_ahead_of_data": (
        "test_stream_back", "back/position.c",
        "return heard < limit ? heard : limit;", "return heard + 2000;",
    ),
    "broken_event_ring_goes_unnoticed": (
        "test_stream_back", "back/position.c",
        "return result == -ENOSPC ? 0 : result;", "return 0;",
    ),
    "write_past_the_end": (
        "test_stream_back", "back/data.c",
        "length_bytes > buffer_bytes - offset_bytes", "offset_bytes + length_bytes > buffer_bytes",
    ),
    "write_of_half_a_frame": (
        "test_stream_back", "back/data.c",
        "if (offset_bytes % s->frame_bytes || length_bytes % s->frame_bytes)", "if (0)",
    ),
    "write_into_a_full_fifo": (
        "test_stream_back", "back/data.c", "        return -ENOSPC;", "        (void)0;",
    ),
    "what_is_no_number_reaches_the_host": (
        "test_stream_back", "back/data.c", "xpa_bound_samples(&s->config, target, n);", "",
    ),
    "what_is_no_number_reaches_the_graph": (
        "test_stream_front", "front/data.c", "xpa_bound_samples(&s->config, to, n);", "",
    ),
    "prepare_without_stop_appends": (
        "test_stream_kernel", "back/data.c", "        back = buffer;", "        back = 0;",
    ),
    "suspended_guest_goes_on_where_it_was": (
        "test_stream_kernel", "back/requests.c",
        "if (xpa_back_prepared_anew(b, offset_bytes, length_bytes))", "if (0)",
    ),
    "rewind_forgets_what_was_taken": (
        "test_stream_back", "back/data.c",
        "uint32_t skip = late < frames ? (uint32_t)late : frames;", "uint32_t skip = 0;",
    ),
    "silence_moves_the_position": (
        "test_stream_back", "time/timeline.c", "guest -= into < length ? into : length;", "",
    ),
    "overflowing_timeline_is_early": (
        "test_timeline", "time/timeline.c", "        join_oldest(t);", "        fold_oldest(t);",
    ),
    "slow_request_is_overtaken": (
        "test_stream_back", "back/requests.c",
        "b->link.waiting = true;\n        xpa_plane_notify", "xpa_plane_notify",
    ),
    "triggers_flood_the_notices": (
        "test_stream_back", "back/requests.c", "return b->link.trigger_unread;", "return false;",
    ),
    "late_answer_makes_linux_deaf": (
        "test_stream_back", "back/requests.c",
        "xpa_back_ring_publish(&b->link.ring) || insist", "xpa_back_ring_publish(&b->link.ring)",
    ),
    "start_does_not_wait_for_the_host": (
        "test_stream_back", "back/host_start.c",
        "b->stream.host_seen_nsec == 0 || now_nsec", "false && now_nsec",
    ),
    "start_waits_for_ever": (
        "test_stream_back", "back/host_start.c",
        "HOST_START_NSEC = 1500000000", "HOST_START_NSEC = 4000000000",
    ),
    "broken_stream_is_not_left_alone": (
        "test_stream_back", "back/life.c",
        "    b->link.broken = true;\n"
        "    if (b->stream.open && b->stream.running)\n"
        "        (void)xpa_back_stop(b); /* whatever it meets, the stream has ended */\n"
        "    detach_sources(b);\n",
        "",
    ),
    "dead_frontend_is_not_looked_for": (
        "test_stream_back", "back/life.c",
        "if (result == 0 && b->link.watches && ", "if (0 && ",
    ),
    "byte_that_nobody_asked_about_counts": (
        "test_stream_back", "back/life.c",
        "    if (b->link.watches && !xpa_evt_ring_front_lives(&b->link.event_ring))\n",
        "    b->link.watches = xpa_evt_ring_front_lives(&b->link.event_ring);\n    if (0)\n",
    ),
    "byte_that_was_never_set_counts": (
        "test_stream_back", "back/life.c",
        "b->link.watches = b->position_ext = b->volume_ext = false;",
        "b->position_ext = b->volume_ext = false;",
    ),
    "extension_of_a_predecessor_counts": (
        "test_stream_back", "back/life.c",
        "b->link.watches = b->position_ext = b->volume_ext = false;",
        "b->link.watches = b->volume_ext = false;",
    ),
    "volume_lies_on_samples": (
        "test_stream_front", "front/control.c",
        "return (int64_t)(answered - other) < 0 ? answered : other;",
        "(void)other;\n    return answered + 1;",
    ),
    "volume_lies_on_samples_that_are_not_heard": (
        "test_stream_front", "front/control.c", ": s->position_frames;", ": answered;",
    ),
    "volume_is_overwritten_before_its_answer": (
        "test_stream_front", "front/data.c", "return room < clear ? room : clear;", "return room;",
    ),
    "volume_is_read_over_before_its_answer": (
        "test_stream_front", "front/data.c", "n = n < clear ? n : clear;", "",
    ),
    "volume_is_sent_before_a_cycles_frames": (
        "test_stream_front", "front/commands.c",
        "    if (!f->stream.started)\n        xpa_front_send_control(f);",
        "    xpa_front_send_control(f);",
    ),
    "older_volume_is_heard_of_after_the_answer": (
        "test_stream_front", "front/requests.c",
        "int result = f->volume_ext ? xpa_front_read_events(f, now_nsec, false) : 0;",
        "int result = 0;\n    (void)now_nsec;",
    ),
    "volumes_fill_the_queue": (
        "test_stream_front", "front/position.c",
        "if (!f->volume.due || f->volume.unread)", "if (!f->volume.due)",
    ),
    "volume_that_found_no_room_is_forgotten": (
        "test_stream_back", "back/volume.c",
        "uint8_t before = b->volume.due ? xpa_volume_ext_of(&b->volume.event).changed : 0;",
        "uint8_t before = 0;",
    ),
    "what_nobody_has_taken_is_replaced": (
        "test_pw_host", "pipewire/host.c", "> h->cycle.next_nsec);", "< h->cycle.next_nsec / 2);",
    ),
    "volume_is_set_before_there_is_one": (
        "test_pw_host", "pipewire/host.c",
        "h->locked.volume_known = true;\n        if (h->locked.set_count > 0) {",
        "h->locked.volume_known = true;\n        if (h->locked.set_count > 64) {",
    ),
    "loopback_without_its_quantum": (
        "test_stream_pair", "back/vdev.c",
        "uint64_t behind = v->quantum_frames + v->delay_frames;",
        "uint64_t behind = v->delay_frames;",
    ),
    "late_positions_are_believed": (
        "test_stream_front", "front/position.c",
        "return position >= from && position - from <=", "return true || position - from <=",
    ),
    "garbage_is_believed": (
        "test_stream_front", "front/position.c",
        "return position >= from && position - from <=", "return position >= from || from <",
    ),
    "backend_that_hurries_is_followed": (
        "test_stream_front", "front/position.c",
        "double left = s->slack_frames +", "double left = (double)slack_frames(f) +",
    ),
    "restart_at_0_goes_unnoticed": (
        "test_stream_front", "front/position.c", "        move_base(f, 0);", "        (void)0;",
    ),
    "insisting_backend_is_ignored": (
        "test_stream_front", "front/position.c", "++s->odd_positions < ODD_POSITIONS", "true",
    ),
    "late_answer_wakes_nobody": (
        "test_stream_front", "front/requests.c",
        "f->link.awaited > 0 || late ||", "f->link.awaited > 0 ||",
    ),
    "trigger_waits_for_the_host": (
        "test_stream_front", "front/requests.c",
        "    xpa_front_ring_publish(&f->link.ring);\n    xpa_channel_notify(&f->request_channel);",
        "    if (xpa_front_ring_publish(&f->link.ring))\n"
        "        xpa_channel_notify(&f->request_channel);",
    ),
    "margin_is_no_more_than_a_period": (
        "test_stream_front", "front/commands.c",
        "return usual > least ? usual : least;", "return least == 0 || usual > 0 ? usual : least;",
    ),
    "margin_of_a_capture_is_a_period": (
        "test_stream_front", "front/commands.c",
        "direction == XPA_CAPTURE ? period_frames / 4", "0 ? 0",
    ),
    "lead_forgets_that_it_grew": (
        "test_stream_front", "time/margin.c",
        "g->frames = grown > base_frames ? grown : base_frames;",
        "g->frames = grown > 0 ? base_frames : base_frames;",
    ),
    "answer_is_awaited_twice": (
        "test_stream_front", "front/requests.c",
        "if (newest->timed || newest->answered || newest->operation == XENSND_OP_TRIGGER)",
        "if (newest->answered)",
    ),
    "answer_to_a_trigger_wakes_nobody": (
        "test_stream_front", "front/requests.c", "f->link.awaited > 0 || late ||", "late ||",
    ),
    "stuck_host_is_blamed_unasked": (
        "test_stream_front", "front/commands.c",
        "        xpa_front_urge(f);\n}", "        (void)now;\n}",
    ),
    "any_frontend_waits_for_the_host": (
        "test_stream_back", "back/requests.c",
        "return b->position_ext && taken_by_host ?", "return taken_by_host ?",
    ),
    "stopped_stream_wants_to_hear_of_nothing": (
        "test_stream_back", "back/requests.c",
        "b->direction == XPA_PLAYBACK && b->stream.running && !b->stream.paused;",
        "b->direction == XPA_PLAYBACK;",
    ),
    "every_write_is_told": (
        "test_stream_back", "back/requests.c", "? QUIET_REQUESTS : 1;", "? 1 : 1;",
    ),
    "full_ring_is_not_told": (
        "test_stream_back", "back/requests.c",
        "QUIET_REQUESTS = XPA_RING_SLOTS / 2", "QUIET_REQUESTS = XPA_RING_SLOTS + 1",
    ),
    "way_of_an_event_is_added": (
        "test_stream_front", "front/time.c",
        "- xpa_transport_nsec(&f->link.peer->transport),",
        "+ xpa_transport_nsec(&f->link.peer->transport),",
    ),
    "events_count_when_they_arrive": (
        "test_front_time", "front/time.c",
        "bool timed = their_nsec > XPA_MAX_AGE_NSEC + MAX_HELD_NSEC &&", "bool timed = false &&",
    ),
    "what_the_host_holds_is_learnt": (
        "test_front_time", "front/time.c",
        "f->direction == XPA_CAPTURE ? s->host_frames", "0 ? 1",
    ),
    "any_time_is_believed": (
        "test_front_time", "front/time.c", "        timed = credible(f, their_nsec, now_nsec);", "",
    ),
    "time_leaps_when_it_is_known_better": (
        "test_front_time", "time/peer_clock.c", "fabs(leap_nsec) < LEAP_NSEC ? leap_nsec : 0", "0",
    ),
    "way_of_any_event_is_added": (
        "test_front_time", "time/peer_clock.c",
        "now_nsec - xpa_transport_nsec(&p->transport)",
        "now_nsec + xpa_transport_nsec(&p->transport)",
    ),
    "backends_share_a_clock": (
        "test_front_time", "time/peer_clock.c",
        "p->streams > 0 && p->domain == domain", "p->streams > 0",
    ),
    "next_backend_finds_the_last_ones_clock": (
        "test_front_time", "time/peer_clock.c", "        xpa_peer_clock_begin(unused);", "",
    ),
    "stream_does_not_know_its_backend": (
        "test_stream_front", "front/life.c", "    f->backend_id = backend_id;", "",
    ),
    "event_does_not_say_when_it_was_sent": (
        "test_stream_back", "back/position.c", ".time_low_nsec = (uint32_t)now_nsec,", "",
    ),
    "frontend_does_not_read_when_it_was_sent": (
        "test_stream_front", "front/position.c",
        "xpa_front_time_sent(f, sent_nsec, now_nsec, woken);", "(void)sent_nsec;",
    ),
    "transfers_take_every_slot": (
        "test_stream_front", "front/requests.c", "RESERVED_SLOTS = 4", "RESERVED_SLOTS = 0",
    ),
    "starvation_goes_unnoticed": (
        "test_stream_front", "front/position.c",
        "f->direction == XPA_PLAYBACK && position > s->written_frames;", "false;",
    ),
    "unread_capture_is_kept": (
        "test_stream_front", "front/data.c",
        "    s->read_frames = end_frames - s->config.buffer_frames;", "",
    ),
    **BUDGET_TWINS,
    **NODE_TWINS,
    **PCM_TWINS,
    **POLL_TWINS,
    **RELAY_TWINS,
}  # fmt: skip
