// Preloaded, makes loopback look like any other interface. Janus does no WebRTC on loopback, and some machines have nothing else.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>

int getifaddrs(struct ifaddrs **list) {
  int (*real)(struct ifaddrs **) = (int (*)(struct ifaddrs **))dlsym(RTLD_NEXT, "getifaddrs");
  int result = real(list);
  for (struct ifaddrs *entry = result ? 0 : *list; entry; entry = entry->ifa_next)
    entry->ifa_flags &= ~IFF_LOOPBACK;
  return result;
}
