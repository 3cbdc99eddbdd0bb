/* pipewire/links.c - when links last came or went in the graph, ours or others'; main loop's
 * thread.
 *
 * PipeWire rebuilds the graph then, and may lose the cycle that runs; it tells no client. This is
 * the only sign of it, and says no more than that it may be so.
 */
#include "pipewire/core.h"

static void note(struct xpa_pw *pw) {
    atomic_store_explicit(&pw->shared.links_nsec, xpa_now_nsec(), memory_order_relaxed);
}

static void on_global(void *data, uint32_t id, uint32_t permissions, const char *type,
                      uint32_t version, const struct spa_dict *properties) {
    (void)id, (void)permissions, (void)version;
    if (spa_streq(type, PW_TYPE_INTERFACE_Link))
        note(data);
    xpa_pw_manager_global(data, type, properties);
}

/* Of what kind it was is not said. */
static void on_global_remove(void *data, uint32_t id) {
    (void)id;
    note(data);
}

static const struct pw_registry_events REGISTRY_EVENTS = {
    PW_VERSION_REGISTRY_EVENTS, .global = on_global, .global_remove = on_global_remove};

void xpa_pw_watch_links(struct xpa_pw *pw) {
    if (pw->locked.registry)
        return;
    pw->locked.registry = pw_core_get_registry(pw->locked.core, PW_VERSION_REGISTRY, 0);
    if (pw->locked.registry)
        pw_registry_add_listener(pw->locked.registry, &pw->locked.registry_listener,
                                 &REGISTRY_EVENTS, pw);
}

void xpa_pw_unwatch_links(struct xpa_pw *pw) {
    if (!pw->locked.registry)
        return;
    xpa_pw_manager_forget(pw);
    spa_hook_remove(&pw->locked.registry_listener);
    pw_proxy_destroy((struct pw_proxy *)pw->locked.registry);
    pw->locked.registry = NULL;
}
