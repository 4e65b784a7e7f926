/* go_url: what etcd's client takes for the URL of a member, with Go's words for what is wrong. Pure.
 * The rules are net/url.Parse's, then client/pkg/types.NewURLs': scheme http, https, unix or unixs;
 * the first two need "host:port" and no path. */
#pragma once

/* NULL: the text is one, blanks around it do not matter. Otherwise a fresh error. */
char *go_check_url(const char *text);
