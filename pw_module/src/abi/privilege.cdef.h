/* abi/privilege.cdef.h - giving up rights; plain declarations, read by C and by cffi. */

/* For the process's first thread while it is the only one: threads inherit what is left, and the
 * kernel gives each rights of its own. What goes, and what stays, is in base/privilege.c. 0, or a
 * negative errno. */
int xpa_drop_privileges(void);
