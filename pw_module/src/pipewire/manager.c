/* pipewire/manager.c - a session manager that has started anew, and will not link what is there;
 * main loop's thread.
 *
 * WirePlumber before 0.5 waits for a device's ports to change when it has configured it. If they
 * are made already, by its predecessor, they do not, and it links nothing to that device as long as
 * it lives (module-si-audio-adapter.c; mended in 0.4.81). It shows itself by the metadata
 * "default", which each session manager makes, and by being a client that tells no version of
 * itself.
 */
#include "pipewire/core.h"

#include <stdlib.h>

#include <pipewire/extensions/metadata.h>

static void on_client_info(void *data, const struct pw_client_info *info) {
    struct xpa_pw *pw = data;
    const char *name = info->props ? spa_dict_lookup(info->props, PW_KEY_APP_NAME) : NULL;
    if (!name || pw->locked.manager_known)
        return;
    pw->locked.manager_known = true;
    if (spa_streq(name, "WirePlumber") && !spa_dict_lookup(info->props, PW_KEY_APP_VERSION))
        xpa_pw_post(pw, XPA_PW_EVENT_MANAGER, 0, 0, 0, 0, NULL);
}

static const struct pw_client_events CLIENT_EVENTS = {PW_VERSION_CLIENT_EVENTS,
                                                      .info = on_client_info};

static void forget_client(struct xpa_pw *pw) {
    if (!pw->locked.manager)
        return;
    spa_hook_remove(&pw->locked.manager_listener);
    pw_proxy_destroy(pw->locked.manager);
    pw->locked.manager = NULL;
}

void xpa_pw_manager_global(struct xpa_pw *pw, const char *type, const struct spa_dict *properties) {
    if (!spa_streq(type, PW_TYPE_INTERFACE_Metadata) || !properties ||
        !spa_streq(spa_dict_lookup(properties, "metadata.name"), "default"))
        return;
    bool first = !pw->locked.manager_seen;
    pw->locked.manager_seen = true;
    const char *client = spa_dict_lookup(properties, PW_KEY_CLIENT_ID);
    if (first || !client)
        return;
    forget_client(pw);
    pw->locked.manager_known = false;
    pw->locked.manager = pw_registry_bind(pw->locked.registry, (uint32_t)strtoul(client, NULL, 10),
                                          PW_TYPE_INTERFACE_Client, PW_VERSION_CLIENT, 0);
    if (pw->locked.manager)
        pw_client_add_listener((struct pw_client *)pw->locked.manager, &pw->locked.manager_listener,
                               &CLIENT_EVENTS, pw);
}

void xpa_pw_manager_forget(struct xpa_pw *pw) {
    forget_client(pw);
    pw->locked.manager_seen = false;
}
