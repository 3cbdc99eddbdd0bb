"""Copies of the PCM's sources with one rule left out: as stream_twins.py."""

from __future__ import annotations

PCM_TWINS = {
    "pcm_passes_on_a_lap_ahead": (
        "test_pcm", "pcm/flow.c",
        "frames = frames < unheard_room(f) ? frames : unheard_room(f);", "",
    ),
    "pcm_believes_what_a_program_says": (
        "test_pcm", "pcm/flow.c", "if (ahead <= p->buffer_frames)", "if (true)",
    ),
    "pcm_is_drained_when_all_is_taken": (
        "test_pcm", "pcm/flow.c", "if (all_heard || now_nsec >= p->drain_until_nsec)", "if (true)",
    ),
    "pcm_stops_who_goes_on_in_an_xrun": (
        "test_pcm", "pcm/flow.c",
        "        if (!atomic_load_explicit(&p->share->program.goes_on_in_xrun, "
        "memory_order_relaxed))\n            halt(p, XPA_PCM_XRUN);",
        "        halt(p, XPA_PCM_XRUN);",
    ),
    "pcm_wakes_at_events_only": (
        "test_pcm", "pcm/flow.c",
        "    arm(p, at == 0 || at > now_nsec + SETTLE_NSEC ? at : now_nsec + SETTLE_NSEC);",
        "    (void)at;",
    ),
    "pcm_tells_the_age_of_the_last_event": (
        "test_pcm", "pcm/flow.c", "xpa_front_position_at(f, now_nsec) + age",
        "(double)f->stream.position_frames + age",
    ),
    "pcm_outlives_its_stream": (
        "test_pcm", "pcm/pcm.c",
        "    xpa_pcm_update(p, now_nsec); /* one", "    (void)now_nsec; /* one",
    ),
    "pcm_plays_at_full_volume": (
        "test_pcm", "pcm/flow.c",
        "if (!xpa_pcm_gain_needed(&p->gain) || most == 0)", "if (true)",
    ),
    "pcm_records_at_full_volume": (
        "test_pcm", "pcm/flow.c",
        "        xpa_pcm_gain_apply(&p->gain, &f->stream.config, to, frames);\n", "",
    ),
    "pcm_makes_the_volume_in_the_program_s_memory": (
        "test_pcm", "pcm/flow.c",
        "xpa_pcm_gain_apply(&p->gain, &p->front->stream.config, chunk, n);",
        "xpa_pcm_gain_apply(&p->gain, &p->front->stream.config, (void *)from, n);\n"
        "        memcpy(chunk, from, (size_t)n * p->frame_bytes);",
    ),
    "gain_overflows": (
        "test_pcm", "pcm/gain.c",
        "value < -most - 1 ? -most - 1 : value > most ? most : value",
        "value > most ? -most : value",
    ),
    "gain_of_nothing_is_a_zero": (
        "test_pcm", "pcm/gain.c",
        "        if (gain == 0)\n            memcpy(at, c->silence, c->sample_bytes);\n"
        "        else if",
        "        if",
    ),
}  # fmt: skip
