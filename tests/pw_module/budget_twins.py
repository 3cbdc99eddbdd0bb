"""As stream_twins.py: copies in which what a peer may cost is not bounded."""

from __future__ import annotations

# (program, file, what is changed, into what). Each text occurs exactly once.
# fmt: off
BUDGET_TWINS = {
    "back_copies_for_nothing": (
        "test_back_budget", "back/requests.c",
        "work_nsec += bytes / XPA_WORK_BYTES_PER_NSEC;", "(void)bytes;",
    ),
    "back_asks_python_for_nothing": (
        "test_back_budget", "base/budget.c",
        "    if (slow)\n        add(&b->slow_due_nsec, SLOW_NSEC, now_nsec);", "    (void)slow;",
    ),
    "back_is_woken_for_nothing": (
        "test_back_budget", "back/requests.c",
        "xpa_budget_charge(b->link.budget, XPA_WAKE_WORK_NSEC, false, now_nsec);",
        "(void)now_nsec;",
    ),
    "back_never_rests": (
        "test_back_budget", "back/requests.c",
        "if (until_nsec == 0)\n        return false;", "if (until_nsec)\n        return false;",
    ),
    "back_serves_all_there_is_before_it_rests": (
        "test_back_budget", "back/requests.c",
        "if (result == 0 && rests(b, now_nsec))", "if (false)",
    ),
    "back_has_a_budget_a_stream": (
        "test_back_budget", "back/life.c", "    b->link.budget = budget;", "    (void)budget;",
    ),
    "back_forgets_to_wake": (
        "test_back_budget", "back/position.c",
        "        at = b->link.rests_until_nsec;", "        at += 0;",
    ),
    "front_never_rests": (
        "test_front_budget", "front/rest.c", "if (until_nsec == 0)", "if (until_nsec)",
    ),
    "front_is_woken_for_nothing": (
        "test_front_budget", "front/rest.c",
        "    xpa_budget_charge(f->link.budget, XPA_WAKE_WORK_NSEC, false, now_nsec);\n", "",
    ),
    "front_forgets_to_wake": (
        "test_front_budget", "front/rest.c", "    xpa_timer_set(f->rest_fd, until_nsec);\n", "",
    ),
    "front_reads_events_without_end": (
        "test_front_budget", "front/position.c", "i < XPA_EVT_RING_SLOTS; i++", ";",
    ),
    "front_has_a_budget_a_stream": (
        "test_front_budget", "front/life.c", "    f->link.budget = budget;", "    (void)budget;",
    ),
}
# fmt: on
