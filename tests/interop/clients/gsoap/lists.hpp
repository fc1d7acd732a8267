// What the drivers of Send and Manage share: lists, groups and options.
#pragma once

#include "keyed.hpp"

json_t *get_lists(Proxy &proxy, json_t *given) {
    _ns1__GetLists request;
    _ns1__GetListsResponse response;
    request.accessKey = text(proxy.soap, given, "accessKey");
    send(proxy, &Proxy::GetLists, request, response);
    return value_of(response.GetListsResult);
}

json_t *get_groups(Proxy &proxy, json_t *given) {
    _ns1__GetGroups request;
    _ns1__GetGroupsResponse response;
    request.accessKey = text(proxy.soap, given, "accessKey");
    request.listID = number(given, "listID");
    send(proxy, &Proxy::GetGroups, request, response);
    return value_of(response.GetGroupsResult);
}

ns1__ArrayOfOption *options(Proxy &proxy, json_t *given) {
    if (json_is_null(given)) return nullptr;
    auto *made = soap_new_ns1__ArrayOfOption(proxy.soap);
    size_t place;
    json_t *item;
    json_array_foreach(json_object_get(given, "items"), place, item) {
        auto *option = soap_new_ns1__Option(proxy.soap);
        option->Key = text(proxy.soap, item, "Key");
        // An untyped element is XML as it stands; the test's values need no escaping.
        option->Value = soap_strdup(proxy.soap, json_string_value(json_object_get(item, "Value")));
        made->Option.push_back(option);
    }
    return made;
}
