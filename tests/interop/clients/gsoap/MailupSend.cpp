// Calls MailupSend through what gSOAP generated.
#include "soapMailupSendSoapProxy.h"

using Proxy = MailupSendSoapProxy;

#include "lists.hpp"

json_t *create_newsletter(Proxy &proxy, json_t *given) {
    _ns1__CreateNewsletter request;
    _ns1__CreateNewsletterResponse response;
    request.accessKey = text(proxy.soap, given, "accessKey");
    request.listID = number(given, "listID");
    request.subject = text(proxy.soap, given, "subject");
    request.type = text(proxy.soap, given, "type");
    request.content = text(proxy.soap, given, "content");
    request.options = options(proxy, json_object_get(given, "options"));
    send(proxy, &Proxy::CreateNewsletter, request, response);
    return value_of(response.CreateNewsletterResult);
}

int main(int, char **arguments) {
    const Operation<Proxy> operations[] = {
        {"Login", log_in},
        {"LoginFromId", log_in_from_id},
        {"Logout", log_out},
        {"GetLists", get_lists},
        {"GetGroups", get_groups},
        {"CreateNewsletter", create_newsletter},
    };
    return serve(arguments[1], operations, set_header);
}
