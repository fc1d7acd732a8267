package bench;

import javax.xml.bind.annotation.XmlElement;
import javax.xml.bind.annotation.XmlType;

/** The header of every call. */
@XmlType(name = "Authentication", propOrder = {"user", "password"})
public class Authentication {
    @XmlElement(name = "User") public String user;
    @XmlElement(name = "Password") public String password;
}
