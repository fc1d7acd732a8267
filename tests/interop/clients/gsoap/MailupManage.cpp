// Calls MailupManage through what gSOAP generated.
#include "soapMailupManageSoapProxy.h"

using Proxy = MailupManageSoapProxy;

#include "lists.hpp"

json_t *update_group(Proxy &proxy, json_t *given) {
    _ns1__UpdateGroup request;
    _ns1__UpdateGroupResponse response;
    request.accessKey = text(proxy.soap, given, "accessKey");
    request.groupID = number(given, "groupID");
    request.options = options(proxy, json_object_get(given, "options"));
    send(proxy, &Proxy::UpdateGroup, request, response);
    return value_of(response.UpdateGroupResult);
}

int main(int, char **arguments) {
    const Operation<Proxy> operations[] = {
        {"Login", log_in},
        {"LoginFromId", log_in_from_id},
        {"Logout", log_out},
        {"GetLists", get_lists},
        {"GetGroups", get_groups},
        {"UpdateGroup", update_group},
    };
    return serve(arguments[1], operations, set_header);
}
