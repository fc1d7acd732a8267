@XmlSchema(namespace = "http://bench.example/", elementFormDefault = XmlNsForm.QUALIFIED)
package bench;

import javax.xml.bind.annotation.XmlNsForm;
import javax.xml.bind.annotation.XmlSchema;
