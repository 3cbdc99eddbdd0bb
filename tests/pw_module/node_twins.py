"""stream_twins.py for the programs about PipeWire: the guest's node and the host's."""

from __future__ import annotations

# fmt: off
NODE_TWINS = {
    "node_plays_what_the_stream_is_not_open_for": (
        "test_pw_cycle", "node/graph.c",
        "graph->format == stream->format && graph->rate == stream->rate &&",
        "graph->format != UINT32_MAX && stream->rate && graph->rate &&",
    ),
    "node_lets_a_source_have_one_buffer": (
        "test_pw_node", "node/node.c",
        "params[param_count++] = buffers(&b);", "(void)buffers;",
    ),
    "node_gives_zero_bytes_for_silence": (
        "test_pw_cycle", "node/cycle.c",
        "xpa_fill_samples(format->silence,", "xpa_fill_samples((const uint8_t[8]){0},",
    ),
    "node_leaves_the_stream_of_an_old_format_running": (
        "test_pw_cycle", "node/cycle.c",
        "if (n->state.running && !xpa_node_fits(format, &n->state.front->stream.config))",
        "if (false)",
    ),
    "node_tells_each_latency_in_a_notice_of_its_own": (
        "test_pw_cycle", "node/lead.c",
        "if (!f->lead.unread || xpa_plane_noticed(f->plane, f->lead.ticket))", "",
    ),
    "node_starts_anew_whenever_it_is_bound": (
        "test_pw_cycle", "node/cycle.c",
        "if (n->state.front == f)", "if (false)",
    ),
    "node_waits_200_ms_for_a_lost_cycle": (
        "test_pw_cycle", "time/overdue.c",
        "uint64_t patience = most(", "uint64_t patience = 200000000 + most(",
    ),
    "node_sets_a_timer_for_each_cycle_in_flight": (
        "test_pw_cycle", "node/drive.c", "return o->running && o->again_nsec == 0", "return false",
    ),
    "node_leaves_a_cycle_that_may_be_lost_to_the_event": (
        "test_pw_cycle", "node/drive.c",
        "!xpa_overdue_lately(links_nsec, o->started_nsec);", "links_nsec < UINT64_MAX;",
    ),
    "node_waits_for_no_client": (
        "test_pw_cycle", "node/graph.c",
        "xpa_overdue_start(&n->cycle.overdue, now_nsec, returns);", "(void)returns;",
    ),
    "node_forgets_that_a_lost_cycle_comes_back": (
        "test_pw_cycle", "node/graph.c",
        "n->cycle.overdue.lost && n->version < RECOVERS_LATER_BEFORE ? 2 : 1",
        "n->version < RECOVERS_LATER_BEFORE ? 1 : 1",
    ),
    "node_tells_the_time_of_a_lost_cycle_again": (
        "test_pw_cycle", "node/drive.c",
        "frame += xpa_graph_now(n).step_frames;", "frame += 0;",
    ),
    "node_hurries_while_the_converter_needs_nothing": (
        "test_pw_cycle", "node/graph.c",
        "n->cycle.served = n->cycle.processed != before;",
        "n->cycle.served = before <= n->cycle.processed;",
    ),
    "node_gives_what_was_asked_for_after_the_last_cycle": (
        "test_pw_cycle", "node/graph.c",
        "n->io.rate_match->size = xpa_graph_need(n, q);", "n->io.rate_match->size += 0;",
    ),
    "source_hands_over_what_the_cycle_before_needed": (
        "test_pw_cycle", "node/cycle.c",
        "frames = n->state.driving ? n->io.rate_match->size : xpa_graph_need(n, &q);",
        "frames = buffer->requested;",
    ),
    "node_gives_the_lead_back_at_once": (
        "test_pw_cycle", "node/lead.c",
        "SPA_MIN(n->lead.surplus_frames, SHRINK_FRAMES)", "n->lead.surplus_frames",
    ),
    "node_shortens_a_chosen_lead_when_it_starts_again": (
        "test_pw_suspend", "node/lead.c",
        "return f->lead.least_frames > 0 ? SPA_MAX(needed_frames, least_frames)",
        "return least_frames < 1 ? 0",
    ),
    "node_needs_no_more_than_a_chosen_lead": (
        "test_pw_suspend", "node/lead.c",
        "SPA_MAX(needed_frames, least_frames)", "least_frames",
    ),
    "node_keeps_a_lead_that_grew": (
        "test_pw_cycle", "node/lead.c",
        "    n->lead.surplus_frames += less;", "",
    ),
    "node_counts_a_cycles_own_frames_as_ahead_of_it": (
        "test_pw_cycle", "node/lead.c",
        "(double)f->stream.written_frames - there", "(double)f->stream.written_frames + frames",
    ),
    "node_shrinks_the_lead_under_a_follower": (
        "test_pw_cycle", "node/lead.c",
        "n->lead.surplus_frames == 0 || is_followed(n)", "n->lead.surplus_frames == 0",
    ),
    "node_is_freed_before_its_commands_are_carried_out": (
        "test_pw_node", "node/node.c", "    xpa_plane_carry_out(n->plane);", "",
    ),
    "host_believes_hooks_of_any_thread": (
        "test_pw_host", "pipewire/host.c",
        "if (!pthread_equal(pthread_self(), h->shared.loop_thread))", "if (false)",
    ),
    "host_gives_frames_to_a_cycle_that_nobody_hears": (
        "test_pw_host", "pipewire/host.c",
        "h->cycle.position->clock.position != h->cycle.seen_position",
        "h->cycle.position->clock.position == 1",
    ),
    "source_stops_at_once": (
        "test_pw_suspend", "node/cycle.c",
        "if (!f->stream.positioned) {",
        "if (n->direction == XPA_CAPTURE || !f->stream.positioned) {",
    ),
    "source_never_stops": (
        "test_pw_suspend", "node/cycle.c",
        "n->state.drain_until_nsec = now_nsec + left_nsec + LINGER_NSEC;",
        "n->state.drain_until_nsec = UINT64_MAX; (void)left_nsec;",
    ),
    "source_hands_over_what_nobody_took": (
        "test_pw_suspend", "node/cycle.c", "            forget_old(n);", "            (void)0;",
    ),
    "source_believes_what_was_asked_for_before": (
        "test_pw_suspend", "node/cycle.c",
        "    n->cycle.converter.step_frames = 0;\n    xpa_follow_reset(n);\n    xpa_node_arm",
        "    xpa_follow_reset(n);\n    xpa_node_arm",
    ),
    "sink_stops_at_once": (
        "test_pw_suspend", "node/cycle.c",
        "if (!f->stream.positioned) {",
        "if (n->direction == XPA_PLAYBACK || !f->stream.positioned) {",
    ),
    "follower_hears_how_long_the_host_holds": (
        "test_pw_cycle", "node/cycle.c",
        "        xpa_front_ask(f);\n        xpa_follow_held(n);", "        xpa_front_ask(f);",
    ),
}
# fmt: on
