// Calls WSMailUpImport through what gSOAP generated.
#include "driver.hpp"
#include "soapWSMailUpImportSoapProxy.h"

using Proxy = WSMailUpImportSoapProxy;

json_t *get_lists(Proxy &proxy, json_t *) {
    _ns1__GetNlLists request;
    _ns1__GetNlListsResponse response;
    send(proxy, &Proxy::GetNlLists, request, response);
    return value_of(response.GetNlListsResult);
}

json_t *start_imports(Proxy &proxy, json_t *given) {
    _ns1__StartImportProcesses request;
    _ns1__StartImportProcessesResponse response;
    request.listsIDs = text(proxy.soap, given, "listsIDs");
    request.listsGUIDs = text(proxy.soap, given, "listsGUIDs");
    request.xmlDoc = text(proxy.soap, given, "xmlDoc");
    request.groupsIDs = text(proxy.soap, given, "groupsIDs");
    request.importType = number(given, "importType");
    request.mobileInputType = number(given, "mobileInputType");
    request.asPending = truth(given, "asPending");
    request.ConfirmEmail = truth(given, "ConfirmEmail");
    request.asOptOut = truth(given, "asOptOut");
    request.forceOptIn = truth(given, "forceOptIn");
    request.replaceGroups = truth(given, "replaceGroups");
    send(proxy, &Proxy::StartImportProcesses, request, response);
    return value_of(response.StartImportProcessesResult);
}

json_t *get_details(Proxy &proxy, json_t *given) {
    _ns1__GetProcessDetails request;
    _ns1__GetProcessDetailsResponse response;
    request.idList = number(given, "idList");
    request.listGUID = text(proxy.soap, given, "listGUID");
    request.idProcess = number(given, "idProcess");
    send(proxy, &Proxy::GetProcessDetails, request, response);
    return value_of(response.GetProcessDetailsResult);
}

void set_header(Proxy &proxy, json_t *members) {
    auto *header = soap_new_ns1__Authentication(proxy.soap);
    header->User = text(proxy.soap, members, "User");
    header->Password = text(proxy.soap, members, "Password");
    proxy.soap_header(header);
}

int main(int, char **arguments) {
    const Operation<Proxy> operations[] = {
        {"GetNlLists", get_lists}, {"StartImportProcesses", start_imports}, {"GetProcessDetails", get_details}};
    return serve(arguments[1], operations, set_header);
}
